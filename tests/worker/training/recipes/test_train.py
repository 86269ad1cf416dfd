import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slbi.nets.backbone import Backbone
from slbi.optim.optimizer import SLBI
from slbi.structure.path import unpack
from slbi.structure.support import w_star
from tests.runs import Alone, States, alone
from worker.training.checkpoint import load
from worker.training.config import ComputeConfig, DataConfig, OptimConfig
from worker.training.data.batches import evaluation_batches
from worker.training.data.load import load as load_data
from worker.training.device import Compute, generator, threads
from worker.training.epoch import evaluate
from worker.training.plans import TrainConfig, TrainingConfig, TwinConfig
from worker.training.recipes.conduct import Surroundings, workplace
from worker.training.recipes.lesson import coupled, learn
from worker.training.recipes.train import _begin, train
from worker.training.recipes.twin import EARLY
from worker.training.recorder import RunList
from worker.training.state import State, net_like, optimizer_like

QUICK = TrainConfig(
    backbone="vgg11",
    data=DataConfig(dataset="digits"),
    widths=6,
    optim=OptimConfig(batch=64, mu=1.0, momentum=0.9, weight_decay=1e-3),
    twin=TwinConfig(structure="filter", threshold=1.0, weight_threshold=1.0),
    train=TrainingConfig(epochs=4, drops=(1, 3), factor=0.5),
    compute=ComputeConfig(device="cpu", threads=1),
)
STRUCTURES = ("filter", "mixed", "element")


@pytest.fixture(scope="module", params=STRUCTURES)
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Alone, list[State]]:
    config = replace(
        QUICK, twin=TwinConfig(structure=request.param, threshold=1.0, weight_threshold=1.0)
    )
    keeper = States(every=10**9)
    made = alone(config, tmp_path_factory.mktemp(request.param), keeper=keeper)
    active = [s.n_active / s.n_filters for s in made.path.step_records[-1].support]
    assert 0 < sum(active) < len(active)
    return made, keeper.states


def test_w_and_its_support_are_measured_after_every_epoch(
    run: tuple[Alone, list[State]], compute: Compute
) -> None:
    made, states = run
    data = load_data(QUICK.data, [], split=generator(0, "split"), device=torch.device("cpu"))

    def accuracy(net: Backbone) -> float:
        batches = evaluation_batches(data.validation, data.normalisation)
        return evaluate(net, batches, compute).accuracy

    differ = 0
    assert len(states) == len(made.path.step_records) == 4
    for state, step in zip(states, made.path.step_records, strict=True):
        like, _ = load(made.member("W").checkpoint)
        compute.place(like)
        net = net_like(like, state.about["widths"], state.below("net"))
        optimizer = optimizer_like(state.about["optimizer"], state.below("optimizer"), net)
        assert accuracy(net) == step.validation_accuracy
        put_on_support(optimizer)
        assert accuracy(net) == step.support_accuracy
        differ += step.support_accuracy != step.validation_accuracy
    assert differ


def put_on_support(optimizer: SLBI) -> None:
    for group in optimizer.param_groups:
        if group["structure"] is not None:
            for weight in group["params"]:
                star = w_star(weight, optimizer.gamma(weight), group["structure"])
                weight.data.copy_(star)


def test_watching_the_support_does_not_move_a_bit(
    run: tuple[Alone, list[State]], tmp_path: Path
) -> None:
    made, _ = run
    around = Surroundings(directories=[], output=tmp_path, recorder=RunList())
    place = workplace(around, data=QUICK.data, compute=QUICK.compute, batch=64, begun=0.0)
    other = _begin(made.config, place)
    other.watches_support = False
    with threads(1):
        learn(other, made.config.train, made.config.optim.learning_rate, other.selected)
    watched = load_file(made.member("W").checkpoint)
    assert all(torch.equal(watched[name], each) for name, each in other.net.state_dict().items())


def test_the_entry_order_is_the_first_epoch_in_which_the_path_has_a_filter(
    run: tuple[Alone, list[State]],
) -> None:
    made, _ = run
    order = load_file(made.file("order.safetensors"))
    (record,) = made.path.file_records
    assert (record.kind, record.format, record.step) == ("order", "safetensors", 80)
    _, whole = load(made.member("W").checkpoint)
    assert set(order) == {layer.name for layer in made.path.layer_records}
    for layer in made.path.layer_records:
        entries = order[layer.name]
        assert entries.dtype == torch.int32
        counts = [step.support[layer.index] for step in made.path.step_records]
        if layer.structure == "element":
            entered = [int((entries == epoch).sum()) for epoch in range(4)]
            assert entered[0] == counts[0].n_active
            assert int((entries >= 0).sum()) >= max(count.n_active for count in counts)
            continue
        first = torch.full_like(entries, -1)
        for epoch, count in reversed(list(enumerate(counts))):
            first[unpack(count.bits, count.n_filters)] = epoch
        assert torch.equal(entries, first)
        assert whole.entry[layer.name] == first.tolist()


def test_the_path_follows_what_the_structure_says(run: tuple[Alone, list[State]]) -> None:
    made, _ = run
    layers = {layer.name: layer.structure for layer in made.path.layer_records}
    filters = {f"conv{number}": "filter" for number in range(1, 9)}
    single = {f"features.conv{number}.conv.weight": "element" for number in range(1, 9)}
    classifier = {"classifier.weight": "element"}
    expected = {
        "filter": filters,
        "mixed": {**filters, **classifier},
        "element": {**single, **classifier},
    }
    assert layers == expected[made.config.twin.structure]


def test_learning_rates_drop_as_asked(run: tuple[Alone, list[State]]) -> None:
    rates = [step.learning_rate for step in run[0].path.step_records]
    assert rates == pytest.approx([0.05, 0.025, 0.025, 0.0125])


def test_findings_say_what_is_left_of_each_layer(run: tuple[Alone, list[State]]) -> None:
    made, _ = run
    assert made.path.found is not None
    assert made.path.found["layers"] == [
        {
            "layer": layer.name,
            "structure": layer.structure,
            "total": made.path.step_records[-1].support[layer.index].n_filters,
            "kept": made.path.step_records[-1].support[layer.index].n_active,
        }
        for layer in made.path.layer_records
    ]


def test_the_member_of_the_support_holds_no_filter_and_no_weight_outside_of_it(
    run: tuple[Alone, list[State]],
) -> None:
    made, _ = run
    structure = made.config.twin.structure
    whole, _ = load(made.member("W").checkpoint)
    member = made.member("support")
    assert member.kind == ("masked" if structure == "element" else "pruned")
    net, about = load(member.checkpoint)
    last = made.path.step_records[-1].support
    for layer in made.path.layer_records:
        count = last[layer.index].n_active
        if layer.structure == "filter":
            assert net.widths[layer.name] == max(1, count)
            assert len(about.entry[layer.name]) == max(1, count)
        elif structure == "element":
            assert int((net.get_parameter(layer.name) != 0).sum()) == count
        else:
            assert int((net.get_parameter(layer.name) != 0).sum()) <= count
    if structure == "element":
        assert net.widths == whole.widths


@pytest.mark.parametrize("schedule", ["constant", "drops", "cosine"])
@pytest.mark.parametrize("scaling", ["none", "fan", "initial"])
def test_auto_mu_is_a_share_of_what_the_schedule_moves_in_units_of_the_threshold(
    net: Backbone, schedule: str, scaling: str
) -> None:
    training = TrainingConfig(epochs=4, schedule=schedule, drops=(2,), factor=0.1)
    moved = {"constant": 4 * 10 * 0.2, "drops": 2 * 10 * 0.22, "cosine": 4 * 10 * 0.1025}[schedule]
    twin = TwinConfig(structure="filter", scaling=scaling, threshold=1.0, weight_threshold=1.0)
    rate = replace(training, learning_rate=0.2)
    optimizer = coupled(net, OptimConfig(), twin, rate, 10)
    norms = []
    for group in net.coupling().groups:
        weight = net.get_parameter(group.tensors("producer")[0]).detach().flatten(1)
        norm = weight.norm(dim=1)
        unit = {"none": 1.0, "fan": weight.shape[1] ** 0.5, "initial": norm.square().mean().sqrt()}
        norms.append(norm / unit[scaling])
    expected = float(torch.cat(norms).mean()) * moved * EARLY
    assert optimizer.param_groups[0]["mu"] == pytest.approx(expected, rel=0.02)


def test_auto_mu_of_the_normalised_variant_counts_that_its_z_moves_a_hundredth(
    net: Backbone,
) -> None:
    training = TrainingConfig(epochs=3, schedule="constant")
    plain, normalised = (
        coupled(
            net,
            OptimConfig(kappa=2.0),
            TwinConfig(structure="element", normalised=each, threshold=1.0, weight_threshold=1.0),
            training,
            20,
        ).param_groups[0]["mu"]
        for each in (False, True)
    )
    assert normalised == pytest.approx(plain * 0.01 / 2)


def test_initial_units_are_the_root_mean_square_of_what_a_layer_began_with(net: Backbone) -> None:
    with torch.no_grad():
        net.get_parameter("features.conv3.conv.weight").mul_(7)
    before = copy.deepcopy(net)
    twin = TwinConfig(structure="mixed", threshold=0.5, weight_threshold=0.5)
    optimizer = coupled(net, OptimConfig(mu=1.0), twin, TrainingConfig(epochs=1), 1)
    names = {parameter: name for name, parameter in net.named_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        for weight in group["params"]:
            name = names[weight]
            first = before.get_parameter(name).detach()
            sizes = first.flatten(1).norm(dim=1) if first.ndim == 4 else first
            if group["structure"] is not None:
                assert group["threshold"] == pytest.approx(
                    0.5 * float(sizes.square().mean().sqrt()), rel=1e-6
                )
                seen.add(name)
    assert seen == {n for n, p in net.named_parameters() if p.ndim > 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone": "vgg7"}, "backbone must be one of"),
        ({"widths": {"conv1": 4}}, "widths of vgg11 must name the groups"),
        ({"data": DataConfig(dataset="nowhere")}, "looked in no directory"),
    ],
)
def test_bad_input_is_refused_before_anything_is_recorded(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    recorder = RunList()
    around = Surroundings(directories=[], output=tmp_path / "family", recorder=recorder)
    with pytest.raises(ValueError, match=told):
        train(replace(QUICK, **change), around)
    assert not recorder.layer_records
    assert not (tmp_path / "family").exists()
