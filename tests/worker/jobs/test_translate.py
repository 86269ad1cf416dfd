from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.spec.jobs import GrowSpec
from service.spec.sections import ComputeSpec, DataSpec, GrowthSpec, OptimSpec, TuneSpec
from worker.jobs.translate import KEPT_BY_THE_JOB, translate
from worker.training.config import GrowConfig

EVERYTHING = GrowSpec(
    dataset="cifar10",
    backbone="resnet20",
    classes=10,
    label="all of it",
    priority=7,
    data=DataSpec(image_size=48, validation=0.2, augment=False, memory="ram", workers=2),
    optim=OptimSpec(
        batch=33,
        learning_rate=0.07,
        momentum=0.8,
        nesterov=True,
        weight_decay=0.001,
        kappa=2.0,
        mu=17.0,
    ),
    growth=GrowthSpec(
        start={"stem": 9},
        threshold={"stem": 0.6},
        round_epochs=3,
        max_rounds=4,
        ratio=1.5,
        minimum=5,
        multiple=2,
        seed="gradmax",
        mode="restart",
        max_width=77,
        max_params=10**6,
        max_macs=10**7,
        max_epochs=21,
        max_seconds=99.5,
        max_training_macs=10**12,
    ),
    tune=TuneSpec(epochs=6, schedule="step", pruned_epochs=2),
    compute=ComputeSpec(
        device="cpu", precision="float32", seed=5, threads=2, processes=3, limit_seconds=1000.0
    ),
)
"""A spec in which every field differs from its default."""


def leaves(value: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field of nested models or dataclasses, by its path."""
    if isinstance(value, BaseModel):
        names = list(type(value).model_fields)
    else:
        assert is_dataclass(value)
        names = [field.name for field in fields(value)]
    for name in names:
        inner = getattr(value, name)
        if isinstance(inner, BaseModel) or is_dataclass(inner):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


def test_the_spec_of_these_tests_leaves_no_field_at_its_default() -> None:
    plain = dict(leaves(GrowSpec(dataset="digits", backbone="vgg11")))
    same = {name for name, value in leaves(EVERYTHING) if value == plain[name]}
    assert same == {"kind"}


def test_every_field_of_a_spec_arrives_in_the_config() -> None:
    arrived = dict(leaves(translate(EVERYTHING)))
    for name, value in leaves(EVERYTHING):
        if name not in KEPT_BY_THE_JOB:
            assert arrived["data.dataset" if name == "dataset" else name] == value, name


def test_every_field_of_the_config_can_be_asked_for() -> None:
    asked = {name for name, _ in leaves(EVERYTHING)} - KEPT_BY_THE_JOB
    known = {name for name, _ in leaves(translate(EVERYTHING))}
    assert known - asked == {"data.dataset"}


def test_what_a_spec_leaves_open_takes_the_configs_default() -> None:
    config = translate(GrowSpec(dataset="digits", backbone="vgg11"))
    assert config == GrowConfig(backbone="vgg11", data=config.data)


def limits(info: FieldInfo) -> list[float]:
    """Return the extreme values that a field of a spec accepts, itself or inside a union."""
    found: list[float] = []
    constraints = list(info.metadata)
    for argument in getattr(info.annotation, "__args__", ()):
        constraints += getattr(argument, "__metadata__", ())
        for inner in getattr(argument, "__metadata__", ()):
            constraints += getattr(inner, "metadata", ())
    for constraint in constraints:
        match constraint:
            case Ge(ge=bound) | Le(le=bound):
                found.append(bound)  # type: ignore[arg-type]
            case Gt(gt=bound):
                found.append(bound + 1e-9)  # type: ignore[operator]
            case Lt(lt=bound):
                found.append(bound - 1e-9)  # type: ignore[operator]
    return found


EXTREMES = [
    (section, name, bound)
    for section, model in (
        ("data", DataSpec),
        ("optim", OptimSpec),
        ("growth", GrowthSpec),
        ("tune", TuneSpec),
        ("compute", ComputeSpec),
    )
    for name, info in model.model_fields.items()
    for bound in limits(info)
]


def test_bounds_are_found_where_they_stand() -> None:
    found = {f"{section}.{name}" for section, name, _ in EXTREMES}
    assert {"growth.start", "growth.threshold", "optim.mu", "compute.seed"} <= found


@pytest.mark.parametrize(("section", "name", "bound"), EXTREMES)
def test_what_a_spec_accepts_a_config_accepts(section: str, name: str, bound: float) -> None:
    asked = {"dataset": "digits", "backbone": "vgg11", section: {name: bound}}
    spec = GrowSpec.model_validate(asked)
    if f"{section}.{name}" not in KEPT_BY_THE_JOB:
        assert getattr(getattr(translate(spec), section), name) == bound
