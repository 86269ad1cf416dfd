import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.runs import Alone, States, alone, initial
from worker.training.config import ComputeConfig, DataConfig, OptimConfig
from worker.training.plans import TrainingConfig, TwinConfig, WeightsConfig
from worker.training.recipes.conduct import Surroundings, workplace
from worker.training.recipes.masks import impose, lasting, support_masks
from worker.training.recipes.run import Run
from worker.training.recipes.weights import _begin
from worker.training.recorder import RunList
from worker.training.state import State

QUICK = WeightsConfig(
    backbone="vgg11",
    data=DataConfig(dataset="digits"),
    widths=5,
    optim=OptimConfig(batch=128, mu=0.5, momentum=0.9, weight_decay=1e-2),
    twin=TwinConfig(structure="element", weight_threshold=1.0),
    train=TrainingConfig(epochs=2),
    finetune=TrainingConfig(epochs=1, learning_rate=0.02),
    retrain=TrainingConfig(epochs=1, learning_rate=0.03, schedule="cosine"),
    compute=ComputeConfig(device="cpu", threads=1),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Alone, list[State]]:
    keeper = States()
    return alone(QUICK, tmp_path_factory.mktemp("weights"), keeper=keeper), keeper.states


def test_pruned_weights_are_exactly_zero_at_every_step_to_the_end(
    run: tuple[Alone, list[State]],
) -> None:
    made, states = run
    masks = load_file(made.file("mask.safetensors"))
    assert 0 < sum(int(m.sum()) for m in masks.values()) < sum(m.numel() for m in masks.values())
    seen = set()
    for state in states:
        phase = state.about["counters"]["phase"]
        if phase == "train":
            continue
        net = state.below("net")
        moved = state.below("optimizer")
        for name, mask in masks.items():
            assert not net[name][~mask].any(), (phase, name)
            seen.add((phase, bool(moved.get(f"{name}/momentum_buffer", mask)[~mask].any())))
    assert {("finetune", True), ("retrain", True)} <= seen  # there was something to hold back
    for origin in ("support", "support, tuned", "support, from the initial weights"):
        weights = load_file(made.member(origin).checkpoint)
        for name, mask in masks.items():
            assert not weights[name][~mask].any()
            assert bool(weights[name][mask].all())


def test_the_masked_member_is_w_on_its_support(run: tuple[Alone, list[State]]) -> None:
    made, _ = run
    whole, masked = (load_file(made.member(each).checkpoint) for each in ("W", "support"))
    for name, mask in load_file(made.file("mask.safetensors")).items():
        assert torch.equal(masked[name], whole[name] * mask)


def test_retraining_starts_from_the_very_initial_weights_under_the_mask(
    run: tuple[Alone, list[State]],
) -> None:
    made, states = run
    masks, first_of_all = load_file(made.file("mask.safetensors")), initial(5)
    last = [state for state in states if state.about["counters"]["phase"] == "finetune"][-1]
    memory = last.below("memory")
    assert all(torch.equal(memory[f"initial/{name}"], each) for name, each in first_of_all.items())
    # One step on from there, undone, is there: without momentum yet, W moved by the rate alone.
    first = next(s for s in states if s.about["counters"]["phase"] == "retrain")
    assert first.about["position"] == 1
    for name, tensor in first.below("net").items():
        if f"{name}/momentum_buffer" not in first.below("optimizer"):
            continue
        moved = first.below("optimizer")[f"{name}/momentum_buffer"]
        before = first_of_all[name] * masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
        expected = before - 0.03 * moved
        if name in masks:
            expected = expected * masks[name]
        torch.testing.assert_close(tensor, expected)


def test_the_table_and_the_findings_say_how_much_of_each_layer_the_mask_leaves(
    run: tuple[Alone, list[State]],
) -> None:
    made, _ = run
    with made.file("kept.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["layer", "total", "kept"]
    masks = load_file(made.file("mask.safetensors"))
    assert {row[0]: (int(row[1]), int(row[2])) for row in rows} == {
        name: (mask.numel(), int(mask.sum())) for name, mask in masks.items()
    }
    assert made.path.found is not None
    told = [
        [each["layer"], str(each["total"]), str(each["kept"])] for each in made.path.found["layers"]
    ]
    assert told == rows


def test_the_path_goes_through_three_phases_and_keeps_the_support(
    run: tuple[Alone, list[State]],
) -> None:
    made, _ = run
    steps = made.path.step_records
    assert [step.phase for step in steps] == ["train", "train", "finetune", "retrain"]
    assert [member.kind for member in made.result.members] == [
        "trained", "masked", "tuned", "ticket",
    ]  # fmt: skip
    assert [step.learning_rate for step in steps[:3]] == [0.05, 0.05, 0.02]
    assert steps[1].support == steps[2].support == steps[3].support
    assert steps[1].support_accuracy is not None
    assert steps[2].support_accuracy is None


@pytest.mark.parametrize(
    ("finetune", "retrain", "kinds"),
    [(0, 0, ["trained", "masked"]), (0, 1, ["trained", "masked", "ticket"])],
)
def test_a_phase_of_no_epochs_is_left_out(
    tmp_path: Path, finetune: int, retrain: int, kinds: list[str]
) -> None:
    config = replace(
        QUICK,
        train=TrainingConfig(epochs=1),
        finetune=TrainingConfig(epochs=finetune),
        retrain=TrainingConfig(epochs=retrain),
    )
    made = alone(config, tmp_path)
    assert [member.kind for member in made.result.members] == kinds
    assert made.path.progress_records[-1].epochs == made.result.epochs == 1 + retrain


def test_the_normalised_variant_selects_and_trains(tmp_path: Path) -> None:
    twin = TwinConfig(structure="element", normalised=True, threshold=0.01, weight_threshold=0.01)
    made = alone(replace(QUICK, twin=twin, optim=replace(QUICK.optim, mu="auto")), tmp_path)
    masks = load_file(made.file("mask.safetensors"))
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert 0.01 < kept / sum(mask.numel() for mask in masks.values()) < 0.99
    tuned = load_file(made.member("support, tuned").checkpoint)
    assert all(not tuned[name][~mask].any() for name, mask in masks.items())


def _run_before_its_first_step(tmp_path: Path) -> Run:
    around = Surroundings(directories=[], output=tmp_path, recorder=RunList())
    place = workplace(around, data=QUICK.data, compute=QUICK.compute, batch=128, begun=0.0)
    return _begin(QUICK, place)


def test_an_empty_support_keeps_the_largest_weight_of_its_layer(tmp_path: Path) -> None:
    run = _run_before_its_first_step(tmp_path)
    name = "features.conv3.conv.weight"
    selected = dict(run.selected())
    assert not any(bool(support.any()) for support in selected.values())
    masks = support_masks(run, lasting(run, selected))
    for layer, mask in masks.items():
        weight = run.net.get_parameter(layer).detach().abs()
        assert int(mask.sum()) == 1
        assert weight[mask].item() == weight.max().item()
    assert run.net.get_parameter(name).stride() != torch.empty(5, 5, 3, 3).stride()
    impose(run, masks)
    assert int((run.net.get_parameter(name) != 0).sum()) == 1


def test_a_run_whose_twins_select_nothing_still_ends(tmp_path: Path) -> None:
    config = replace(QUICK, train=TrainingConfig(epochs=1), optim=OptimConfig(batch=128, mu=1e6))
    made = alone(config, tmp_path)
    masks = load_file(made.file("mask.safetensors"))
    assert {int(mask.sum()) for mask in masks.values()} == {1}
