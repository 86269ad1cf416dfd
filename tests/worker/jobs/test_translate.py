from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.contract import LARGEST
from service.spec.jobs import KIND_NAMES, KINDS, JobSpec, read_spec, source_asked
from worker.jobs.translate import KEPT_BY_THE_JOB, translate
from worker.training.kinds import KINDS as RUNS
from worker.training.kinds import configured
from worker.training.plans import Source

SOURCE = Source(checkpoint=Path("net.safetensors"), order=Path("order.safetensors"))
IDS = [f"0190f5fe-7c00-7a00-8000-00000000000{number}" for number in range(3)]

OPTIM = {
    "batch": 33,
    "learning_rate": 0.07,
    "momentum": 0.8,
    "nesterov": True,
    "weight_decay": 0.001,
    "kappa": 2.0,
    "mu": 17.0,
}
TWIN = {
    "structure": "element",
    "threshold": 2.0,
    "weight_threshold": 3.0,
    "scaling": "fan",
    "normalised": True,
}
TRAINING = {
    "epochs": 9,
    "learning_rate": 0.03,
    "schedule": "constant",
    "drops": [3, 6],
    "factor": 0.2,
}
ANY = {
    "dataset": "cifar10",
    "backbone": "resnet20",
    "stem": "small",
    "classes": 10,
    "label": "all of it",
    "priority": 7,
    "data": {"image_size": 48, "validation": 0.2, "augment": False, "memory": "ram", "workers": 2},
    "compute": {
        "device": "cpu",
        "precision": "float32",
        "seed": 5,
        "threads": 2,
        "processes": 3,
        "limit_seconds": 1000.0,
    },
}
FIXED = {**ANY, "widths": {"stem": 9}, "optim": OPTIM, "twin": TWIN, "train": TRAINING}
POLICY = {
    "multiple": 4,
    "min_width": {"stem": 3},
    "exclude": ["stage2*"],
    "stages": {"stage1*": {"min_width": 5}},
}

EVERYTHING: Mapping[str, list[dict[str, Any]]] = {
    "grow": [
        {
            **ANY,
            "optim": OPTIM,
            "growth": {
                "start": {"stem": 9},
                "when": "both",
                "patience": 2,
                "new_rate": 0.5,
                "threshold": {"stem": 0.6},
                "round_epochs": 3,
                "schedule": "cosine",
                "max_rounds": 4,
                "ratio": 1.5,
                "minimum": 5,
                "multiple": 2,
                "min_width": {"stem": 3},
                "exclude": ["stage2*"],
                "stages": {"stage1*": {"max_width": 40, "together": True}},
                "seed": "gradmax",
                "mode": "restart",
                "max_width": 77,
                "max_params": 10**6,
                "max_macs": 10**7,
                "max_latency_ms": 3.5,
                "max_epochs": 21,
                "max_seconds": 99.5,
                "max_training_macs": 10**12,
            },
            "tune": {"epochs": 6, "schedule": "step", "pruned_epochs": 2},
        },
        {
            **ANY,
            "optim": OPTIM,
            "growth": {
                "targets": [{"share": 0.1}, {"share": 0.2}],
                "split": [1.0, 3.0],
                "hold": 0.6,
                "rise": 1.5,
                "where": "gain",
                "pull": 0.2,
            },
        },
    ],
    "train": [FIXED],
    "weights": [{**FIXED, "finetune": TRAINING, "retrain": {**TRAINING, "epochs": 4}}],
    "ticket": [
        {
            **FIXED,
            "mask": {"epoch": 4, "stable": 0.9, "patience": 3, "rewind": 2},
            "retrain": TRAINING,
            "rivals": ["dense"],
            "transfer_to": "cifar100",
        },
        {
            **FIXED,
            "widths": None,
            "mask": {"epoch": 4, "stable": 0.9, "patience": 3},
            "retrain": TRAINING,
            "rivals": ["dense"],
            "transfer_to": "cifar100",
            "source": {"job": IDS[0], "model": IDS[1]},
            "start": "initial",
        },
    ],
    "prune": [
        {
            **ANY,
            "source": {"job": IDS[0], "model": IDS[1]},
            "pruning": {"order": "norm", "bias": False, **POLICY, **amount},
            "optim": OPTIM,
            "finetune": TRAINING,
        }
        for amount in (
            {"percent": {"stem": 30.0}, "slice": False},
            {"max_macs": 10**6, "max_params": 10**5, "slice": False},
            {"max_latency_ms": 2.5},
        )
    ],
    "visualise": [
        {
            **ANY,
            "source": {"upload": IDS[2]},
            "pictures": {
                "layers": ["conv1"],
                "show": ["weights"],
                "filters": 9,
                "steps": 3,
                "learning_rate": 2.0,
            },
        }
    ],
    "export": [
        {
            **ANY,
            "source": {"upload": IDS[2]},
            "export": {"formats": ["onnx", "card"], "check": False},
        }
    ],
}
"""Kind -> specs in which, taken together, every field differs from its default."""

CASES = [
    pytest.param(kind, spec, id=f"{kind}{number or ''}")
    for kind, specs in EVERYTHING.items()
    for number, spec in enumerate(specs)
]


def shortest(kind: str) -> dict[str, Any]:
    """Return a spec of a kind that leaves open what it can."""
    if kind in {"prune", "visualise", "export"}:
        own = {"pruning": {"percent": 50.0}} if kind == "prune" else {}
        source = {"source": {"job": IDS[0], "model": IDS[1]}}
        return {"kind": kind, "dataset": "digits", "backbone": "vgg11", **source, **own}
    return {"kind": kind, "dataset": "digits", "backbone": "vgg11"}


def translated(spec: JobSpec) -> Any:  # noqa: ANN401 - a config of any kind
    return translate(spec, None if source_asked(spec) is None else SOURCE)


def leaves(value: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field of nested models or dataclasses, by its path; a source as one."""
    if isinstance(value, BaseModel):
        names = list(type(value).model_fields)
    else:
        assert is_dataclass(value)
        names = [field.name for field in fields(value)]
    for name in names:
        inner = getattr(value, name)
        if name != "source" and (isinstance(inner, BaseModel) or is_dataclass(inner)):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


def test_every_kind_has_a_spec_here_and_a_run() -> None:
    assert list(EVERYTHING) == [
        "grow", "train", "weights", "ticket", "prune", "visualise", "export",
    ]  # fmt: skip
    assert set(EVERYTHING) == set(KIND_NAMES) == set(RUNS)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_specs_of_these_tests_leave_no_field_at_its_default(kind: str) -> None:
    plain = dict(leaves(read_spec(shortest(kind))))
    specs = [dict(leaves(read_spec({"kind": kind, **spec}))) for spec in EVERYTHING[kind]]
    same = {name for name in plain if all(spec[name] == plain[name] for spec in specs)}
    assert same - {"source"} == {"kind"}


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_every_field_of_a_spec_arrives_in_the_config(kind: str, spec: dict[str, Any]) -> None:
    asked = read_spec({"kind": kind, **spec})
    arrived = dict(leaves(translated(asked)))
    for name, value in leaves(asked):
        if name == "source":
            assert arrived[name] is (None if value is None else SOURCE)
        elif name not in KEPT_BY_THE_JOB and value is not None:
            plain = value
            if name.endswith(".stages"):
                plain = {key: stage.model_dump(exclude_none=True) for key, stage in value.items()}
            elif name.endswith(".targets"):
                plain = [target.model_dump(exclude_none=True) for target in value]
            assert arrived["data.dataset" if name == "dataset" else name] == plain, name


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_every_field_of_the_config_can_be_asked_for(kind: str, spec: dict[str, Any]) -> None:
    asked = read_spec({"kind": kind, **spec})
    known = {name for name, _ in leaves(translated(asked))}
    assert known - ({name for name, _ in leaves(asked)} - KEPT_BY_THE_JOB) == {"data.dataset"}


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_what_a_spec_leaves_open_takes_the_configs_default(kind: str) -> None:
    config = translated(read_spec(shortest(kind)))
    given: dict[str, Any] = {"backbone": "vgg11", "data": config.data}
    if kind in {"prune", "visualise", "export"}:
        given["source"] = SOURCE
    if kind == "prune":
        given["pruning"] = {"percent": 50.0}
    assert config == configured(kind, given)


def limits(info: FieldInfo) -> list[tuple[float, float]]:
    """Return the extreme values that a field of a spec accepts, and for each one beyond it."""
    found: list[tuple[float, float]] = []
    for constraint in _constraints(info.annotation, list(info.metadata)):
        match constraint:
            case Ge(ge=bound):
                found.append((bound, bound - 1))  # type: ignore[arg-type, operator]
            case Le(le=bound):
                found.append((bound, bound + 1))  # type: ignore[arg-type, operator]
            case Gt(gt=bound):
                found.append((bound + 1e-9, bound))  # type: ignore[arg-type, operator]
            case Lt(lt=bound):
                found.append((bound - 1e-9, bound))  # type: ignore[arg-type, operator]
    return found


def _constraints(annotation: object, metadata: list[object]) -> Iterator[object]:
    """Yield the constraints of a type, or of the types that it is made of."""
    for each in metadata:
        yield from (each, *getattr(each, "metadata", ()))
    yield from (
        constraint
        for argument in getattr(annotation, "__args__", ())
        for constraint in _constraints(argument, list(getattr(argument, "__metadata__", ())))
    )


def listed(info: FieldInfo) -> bool:
    """Return whether a field holds a list, and its bounds are those of what is listed."""
    return any(
        getattr(each, "__origin__", None) is list
        for each in getattr(info.annotation, "__args__", ())
    )


def sections(spec: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in spec.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield name, info.annotation


EXTREMES = [
    (kind, section, name, *([value] if listed(info) else value for value in pair))
    for kind, spec in zip(KIND_NAMES, KINDS, strict=True)
    for section, model in sections(spec)
    for name, info in model.model_fields.items()
    for pair in limits(info)
]
"""Kind, section, field, an extreme value and one beyond it."""

REFUSED_BY_CHECK = {
    ("train", "train", "epochs", 0),
    ("weights", "train", "epochs", 0),
    ("ticket", "train", "epochs", 0),
    ("ticket", "retrain", "epochs", 0),
}
"""What the form of a spec allows and its check does not: tests/service/api/test_kinds.py."""


def with_one(kind: str, section: str, name: str, value: object) -> dict[str, Any]:
    """Return a spec in which one field is set, and others so that they go with it."""
    spec = shortest(kind)
    if kind == "ticket":
        spec["train"] = {"epochs": 10000}
    if (section, name) == ("mask", "rewind"):
        spec["mask"] = {"epoch": 10000}
    if section == "pruning" and name not in POLICY:  # how much goes can be said in one way only
        spec["pruning"] = {}
    spec[section] = {**spec.get(section, {}), name: value}
    return spec


def test_bounds_are_found_where_they_stand() -> None:
    found = {f"{kind}.{section}.{name}" for kind, section, name, *_ in EXTREMES}
    assert {
        "grow.growth.start", "grow.growth.threshold", "grow.optim.mu", "train.compute.seed",
        "ticket.mask.epoch", "prune.pruning.percent", "weights.retrain.drops",
        "visualise.pictures.filters", "train.twin.threshold",
    } <= found  # fmt: skip


@pytest.mark.parametrize(("kind", "section", "name", "bound", "_beyond"), EXTREMES)
def test_what_a_spec_accepts_a_config_accepts(
    kind: str,
    section: str,
    name: str,
    bound: object,
    _beyond: object,
) -> None:
    if not isinstance(bound, list) and (kind, section, name, bound) in REFUSED_BY_CHECK:
        return
    spec = read_spec(with_one(kind, section, name, bound))
    if f"{section}.{name}" not in KEPT_BY_THE_JOB:
        assert getattr(getattr(translated(spec), section), name) == bound


@pytest.mark.parametrize(("kind", "section", "name", "_bound", "beyond"), EXTREMES)
def test_what_a_spec_refuses_a_config_refuses(
    kind: str,
    section: str,
    name: str,
    _bound: object,
    beyond: object,
) -> None:
    spec = with_one(kind, section, name, beyond)
    with pytest.raises(ValueError, match=name):
        read_spec(spec)
    if f"{section}.{name}" in KEPT_BY_THE_JOB or beyond == LARGEST + 1:  # a number only SQL minds
        return
    settings = {name: value for name, value in spec.items() if name not in {"kind", "dataset"}}
    if "source" in settings:
        settings["source"] = SOURCE
    settings["data"] = {"dataset": "digits", **settings.get("data", {})}
    with pytest.raises(ValueError, match="must be"):
        configured(kind, settings)


@pytest.mark.parametrize("kind", ["train", "weights", "ticket"])
@pytest.mark.parametrize("widths", [1, 4096, {"stem": 1}, 0, 4097, {"stem": 0}])
def test_widths_of_a_spec_and_of_a_config_agree(kind: str, widths: Any) -> None:  # noqa: ANN401 - number or table
    spec = {**shortest(kind), "widths": widths}
    number = widths["stem"] if isinstance(widths, dict) else widths
    if 1 <= number <= 4096:
        assert translated(read_spec(spec)).widths == widths
        return
    with pytest.raises(ValueError, match="widths"):
        read_spec(spec)
    with pytest.raises(ValueError, match="widths"):
        configured(kind, {"backbone": "x", "data": {"dataset": "x"}, "widths": widths})
