from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from tests.runs import Alone, States, alone, initial
from worker.training.checkpoint import load
from worker.training.config import ComputeConfig, DataConfig, OptimConfig
from worker.training.data.formats import read_digits
from worker.training.data.locate import DatasetAbsentError
from worker.training.plans import MaskConfig, TicketConfig, TrainingConfig, TwinConfig
from worker.training.recipes.ticket import stable
from worker.training.state import State

QUICK = TicketConfig(
    backbone="vgg11",
    data=DataConfig(dataset="digits"),
    widths=5,
    optim=OptimConfig(batch=64, mu=1.0, momentum=0.9, nesterov=True, weight_decay=1e-2),
    twin=TwinConfig(structure="filter", threshold=1.0, weight_threshold=1.0),
    train=TrainingConfig(epochs=5, learning_rate=0.1),
    mask=MaskConfig(epoch=3),
    retrain=TrainingConfig(epochs=1),
    compute=ComputeConfig(device="cpu", threads=1),
)


class Steps(States):
    """A keeper that keeps the state before every step."""

    def of(self, phase: str, position: int, *, transferred: bool = False) -> State:
        """Return the state so many steps into the only epoch of a phase."""
        (found,) = [
            state
            for state in self.states
            if state.about["counters"]["phase"] == phase
            and state.about["counters"]["transferred"] == transferred
            and state.about["position"] == position
            and (phase != "train" or state.about["counters"]["phase_epoch"] == 0)
            and (position or state.about["counters"]["phase_epoch"])
        ]
        return found


@pytest.fixture(scope="module", params=["filter", "mixed", "element"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, directory: Path
) -> tuple[Alone, Steps]:
    config = replace(
        QUICK,
        twin=TwinConfig(structure=request.param, threshold=1.0, weight_threshold=1.0),
        transfer_to="stripes",
    )
    keeper = Steps()
    made = alone(config, tmp_path_factory.mktemp(request.param), [directory], keeper=keeper)
    return made, keeper


def _masks(made: Alone) -> dict[str, Tensor]:
    masks = load_file(made.file("mask.safetensors"))
    shares = [float(mask.double().mean()) for mask in masks.values()]
    assert min(shares) < 1
    assert max(shares) > 0
    return masks


def _undone(state: State, rate: float, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return where free parameters were before the first step, by Nesterov's step undone."""
    found = {}
    for name, tensor in state.below("net").items():
        buffer = state.below("optimizer").get(f"{name}/momentum_buffer")
        if buffer is not None:
            moved = tensor + rate * 1.9 * buffer
            mask = masks.get(name)
            fits = mask is not None and mask.ndim == moved.ndim and len(mask) == len(moved)
            found[name] = moved * mask if fits and mask is not None else moved
    return found


def test_the_mask_is_taken_after_the_epoch_asked_for(run: tuple[Alone, Steps]) -> None:
    made, _ = run
    phases = [step.phase for step in made.path.step_records]
    assert phases == ["train"] * 3 + 2 * ["ticket", "random", "dense"]
    assert made.path.found is not None
    assert made.path.found["mask_epoch"] == 3
    assert made.path.found["mask_chosen"] == "given"
    assert len(made.path.found["overlaps"]) == 2
    assert {p.epochs for p in made.path.progress_records[3:]} == {9}
    third = made.path.step_records[2].support
    masks = _masks(made)
    for layer in made.path.layer_records:
        count = third[layer.index].n_active
        name = layer.name
        if layer.structure == "filter":
            name = f"features.{name}.conv.weight"
        assert int(masks[name].sum()) == max(1, count)


@pytest.mark.parametrize("transferred", [False, True])
def test_the_arms_see_the_same_batches_and_begin_where_they_should(
    run: tuple[Alone, Steps], *, transferred: bool
) -> None:
    made, keeper = run
    masks = _masks(made)
    early = {
        name.removeprefix("early/"): tensor
        for name, tensor in keeper.of("ticket", 1).below("memory").items()
        if name.startswith("early/")
    }
    first = {
        arm: keeper.of(arm, 1, transferred=transferred) for arm in ("ticket", "random", "dense")
    }
    draws = [state.below("batches") for state in first.values()]
    assert all(torch.equal(draw["order"], draws[0]["order"]) for draw in draws)
    assert all(torch.equal(draw["variation"], draws[0]["variation"]) for draw in draws)
    ticket, random, dense = (
        _undone(first[arm], 0.05, {} if arm == "dense" else masks) for arm in first
    )
    for name, weight in dense.items():
        if early[name].shape == weight.shape:
            torch.testing.assert_close(weight, early[name], rtol=1e-4, atol=1e-6)
        else:
            assert transferred
            assert name.startswith("classifier")
        mask = masks.get(name)
        fits = mask is not None and mask.ndim == weight.ndim and len(mask) == len(weight)
        left = weight * mask if fits and mask is not None else weight
        torch.testing.assert_close(ticket[name], left, rtol=1e-4, atol=1e-6)
        if weight.ndim > 1:
            assert not torch.allclose(random[name], ticket[name], rtol=1e-2, atol=1e-3)


def test_masks_stay_zero_at_every_step_of_both_arms(run: tuple[Alone, Steps]) -> None:
    made, keeper = run
    masks, seen = _masks(made), set()
    for state in keeper.states:
        counters = state.about["counters"]
        if counters["phase"] not in {"ticket", "random"}:
            continue
        held = state.below("mask")
        assert set(held) == {
            name for name in masks if not (counters["transferred"] and "classifier" in name)
        }
        for name, mask in held.items():
            weight = state.below("net")[name]
            assert torch.equal(mask, masks[name])
            assert not weight.masked_select(~mask).any()
            buffer = state.below("optimizer")[f"{name}/momentum_buffer"]
            seen.add(bool(buffer.masked_select(~mask).any()))
    assert True in seen or made.config.twin.structure == "filter"  # silent rows have no gradient


def test_the_sliced_ticket_computes_what_the_masked_network_does(
    run: tuple[Alone, Steps],
) -> None:
    made, keeper = run
    images = read_digits("test").images[:64] / 16.0
    for kind in ("ticket", "random", "dense"):
        member = next(m for m in made.result.members if m.kind == kind and m.dataset is None)
        last = keeper.of(kind, 0)
        like, _ = load(made.result.members[2].checkpoint)  # dense: it has all filters
        whole = like.hollow(like.widths).eval()
        whole.load_state_dict(last.below("net"))
        sliced, _ = load(member.checkpoint)
        with torch.no_grad():
            torch.testing.assert_close(sliced(images), whole(images), rtol=1e-4, atol=1e-5)
        if made.config.twin.structure == "element" or kind == "dense":
            assert sliced.widths == whole.widths
        else:
            assert sliced.cost()[0] < whole.cost()[0]


def test_the_path_shows_what_each_arm_leaves_free(run: tuple[Alone, Steps]) -> None:
    made, _ = run
    masks = _masks(made)
    for position, step in enumerate(made.path.step_records[3:]):
        for layer in made.path.layer_records:
            support = step.support[layer.index]
            if step.phase == "dense" or (position > 2 and layer.name == "classifier.weight"):
                assert support.n_active == support.n_filters
            elif layer.structure == "element":
                assert support.n_active == int(masks[layer.name].sum())
            else:
                name = f"features.{layer.name}.conv.weight"
                assert support.n_active == int(masks[name].sum())


def test_all_is_trained_again_on_a_second_data_set_of_other_classes(
    run: tuple[Alone, Steps],
) -> None:
    made, _ = run
    assert [member.dataset for member in made.result.members] == [None] * 3 + ["stripes"] * 3
    for member, classes in zip(made.result.members, [10] * 3 + [3] * 3, strict=True):
        net, about = load(member.checkpoint)
        assert net.classes == len(about.class_names) == classes
    assert [test.model for test in made.result.tests] == list(range(6))
    assert made.path.found is not None
    assert [(arm["arm"], arm["dataset"]) for arm in made.path.found["arms"]] == [
        (arm, name) for name in ("digits", "stripes") for arm in ("ticket", "random", "dense")
    ]


@pytest.mark.parametrize("rewind", [0, 1, 2])
def test_rewinding_is_bit_exact(tmp_path: Path, rewind: int) -> None:
    keeper = Steps()
    mask = MaskConfig(epoch=2, rewind=rewind)
    config = replace(QUICK, mask=mask, rivals=())
    made = alone(config, tmp_path, keeper=keeper)
    assert made.path.found is not None
    assert made.path.found["rewound_to"] == rewind
    early = {
        name.removeprefix("early/"): tensor
        for name, tensor in keeper.of("ticket", 1).below("memory").items()
        if name.startswith("early/")
    }
    if rewind:
        (then,) = [
            state.below("net")
            for state in keeper.states
            if state.about["counters"]["phase"] == "train"
            and state.about["counters"]["phase_epoch"] == rewind
            and not state.about["position"]
        ]
    else:
        then = initial(5)
    assert early.keys() == then.keys()
    assert all(torch.equal(early[name], then[name]) for name in early)


def test_a_full_mask_makes_the_ticket_the_dense_network_bit_for_bit(tmp_path: Path) -> None:
    """So both see the very same batches, augmentation and rates, from the same weights."""
    config = replace(
        QUICK,
        optim=replace(QUICK.optim, mu=0.05),
        twin=TwinConfig(structure="element", threshold=1e-6, weight_threshold=1e-6),
        train=TrainingConfig(epochs=1),
        mask=MaskConfig(epoch=1),
    )
    made = alone(config, tmp_path)
    assert all(bool(mask.all()) for mask in load_file(made.file("mask.safetensors")).values())
    ticket, random, dense = (load_file(member.checkpoint) for member in made.result.members)
    assert all(torch.equal(ticket[name], dense[name]) for name in dense)
    assert not any(torch.equal(random[n], dense[n]) for n in dense if dense[n].ndim > 1)


@pytest.mark.parametrize(
    ("mask", "epoch", "chosen"),
    [
        (MaskConfig(stable=0.01, patience=1), None, "stable"),
        (MaskConfig(stable=0.01, patience=1, rewind=4), 4, "stable"),
        (MaskConfig(stable=1.0, patience=4), 5, "the last epoch: the mask did not become stable"),
    ],
)
def test_the_epoch_is_found_where_the_mask_is_stable_else_it_is_the_last(
    tmp_path: Path, mask: MaskConfig, epoch: int | None, chosen: str
) -> None:
    made = alone(replace(QUICK, mask=mask, rivals=()), tmp_path)
    found = made.path.found
    assert found is not None
    overlaps = found["overlaps"]
    if epoch is None:
        first = next(i for i, each in enumerate(overlaps) if each >= 0.01)
        epoch = first + 2
        assert first == len(overlaps) - 1
    assert (found["mask_epoch"], found["mask_chosen"]) == (epoch, chosen)
    assert [step.phase for step in made.path.step_records] == ["train"] * epoch + ["ticket"]


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.01, 1), st.integers(1, 5))
def test_stable_means_that_the_last_overlaps_all_reach_the_threshold(
    overlaps: list[float], threshold: float, patience: int
) -> None:
    last = overlaps[len(overlaps) - patience :] if len(overlaps) >= patience else None
    assert stable(overlaps, threshold, patience) == (
        last is not None and all(each >= threshold for each in last)
    )


def test_a_mask_that_selects_nothing_keeps_the_largest_filter_of_each_layer(
    tmp_path: Path,
) -> None:
    config = replace(
        QUICK, optim=OptimConfig(batch=64, mu=1e6), train=TrainingConfig(epochs=1),
        mask=MaskConfig(epoch=1), rivals=("random",),
    )  # fmt: skip
    made = alone(config, tmp_path)
    assert [set(m.widths.values()) for m in made.result.members] == [{1}, {1}]
    assert {each["kept"] for each in (made.path.found or {})["layers"]} == {1}


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"transfer_to": "nowhere"}, DatasetAbsentError, "'nowhere' must be in a data directory"),
        (
            {"transfer_to": "colours"},
            ValueError,
            "transfer_to must have images of 1 channels and 8 px, colours has 3 and 12",
        ),
    ],
)
def test_a_second_data_set_that_cannot_serve_is_refused_before_the_first_step(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], told: str
) -> None:
    from PIL import Image  # noqa: PLC0415 - only here

    for kind in "ab":
        (tmp_path / "colours" / kind).mkdir(parents=True)
        for number in range(4):
            image = Image.new("RGB", (12, 12), (number, 2, 3))
            image.save(tmp_path / "colours" / kind / f"{number}.png")
    with pytest.raises(error, match=told):
        alone(replace(QUICK, **change), tmp_path / "family", [tmp_path])
    assert not (tmp_path / "family").exists()
