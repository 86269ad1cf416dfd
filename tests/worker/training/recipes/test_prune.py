import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.pruning.by_order import kept_by_order
from slbi.pruning.rank import Order, filter_norms, rank
from tests.runs import Alone, States, alone
from worker.training.checkpoint import CheckpointError, load
from worker.training.config import ComputeConfig, DataConfig, OptimConfig
from worker.training.data.formats import read_digits
from worker.training.plans import (
    PruneConfig,
    PruningConfig,
    Source,
    TrainConfig,
    TrainingConfig,
    TwinConfig,
)
from worker.training.recipes.conduct import Surroundings, workplace
from worker.training.recipes.family import Family
from worker.training.recipes.prune import _begin, _prune
from worker.training.recorder import RunList

SAME: dict[str, Any] = {
    "data": DataConfig(dataset="digits"),
    "optim": OptimConfig(batch=128, mu=0.5, momentum=0.9, weight_decay=1e-2),
    "compute": ComputeConfig(device="cpu", threads=1),
}
LARGE = DataConfig(dataset="digits", image_size=28)
STAGES = {
    group: width + index % 2
    for stage, width in (("stage1", 4), ("stage2", 6), ("stage3", 9))
    for index, group in enumerate([stage, *(f"{stage}.block{n}" for n in (1, 2, 3))])
}
BACKBONES: dict[str, dict[str, Any]] = {
    "vgg11": {"widths": 6, "train": TrainingConfig(epochs=2)},
    "resnet20": {"widths": STAGES, "train": TrainingConfig(epochs=1)},
    "lenet5": {
        "widths": {"conv1": 4, "conv2": 5, "conv3": 12, "fc1": 10},
        "train": TrainingConfig(epochs=1),
        "data": LARGE,
    },
}
NONE = TrainingConfig(epochs=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Alone]:
    """A mixed run of each backbone."""
    home = tmp_path_factory.mktemp("sources")
    twin = TwinConfig(structure="mixed", threshold=0.7, weight_threshold=0.7)
    return {
        name: alone(TrainConfig(**{**SAME, "backbone": name, "twin": twin, **more}), home / name)
        for name, more in BACKBONES.items()
    }


def _source(made: Alone, origin: str = "W") -> Source:
    return Source(checkpoint=made.member(origin).checkpoint, order=made.file("order.safetensors"))


def _config(made: Alone, pruning: PruningConfig, **more: Any) -> PruneConfig:  # noqa: ANN401
    about: dict[str, Any] = {
        **SAME,
        "backbone": made.config.backbone,
        "data": made.config.data,
        "source": _source(made),
        "finetune": NONE,
        **more,
    }
    return PruneConfig(pruning=pruning, **about)


def _kept(made: Alone) -> dict[str, int]:
    """Return how much of every layer a run says that it has kept."""
    assert made.path.found is not None
    return {each["layer"]: each["kept"] for each in made.path.found["layers"]}


@pytest.mark.parametrize("order", ["mixed", "lexicographic", "norm"])
@pytest.mark.parametrize("name", BACKBONES)
def test_one_percent_for_all_prunes_each_group_by_its_own_order(
    tmp_path: Path, trained: dict[str, Alone], name: str, order: Order
) -> None:
    source = trained[name]
    net, about = load(source.member("W").checkpoint)
    made = alone(_config(source, PruningConfig(order=order, percent=40, slice=False)), tmp_path)
    pruned, _ = load(made.member("pruned").checkpoint)
    single = load_file(source.file("order.safetensors"))
    assert made.member("pruned").kind == "masked"
    for group, norms in filter_norms(net).items():
        if group in about.entry:
            entry = torch.tensor(about.entry[group])
        else:  # linear groups of a mixed run: a filter enters with the first of its weights
            late = single[f"{group}.weight"].to(torch.int64)
            entry = late.where(late >= 0, 10**6).amin(1)
            entry = entry.where(entry < 10**6, -1)
        kept = kept_by_order(rank(norms, entry, order), 40)
        assert _kept(made)[group] == int(kept.sum())
        for tensor in net.coupling().group(group).tensors("producer"):
            rows = pruned.get_parameter(tensor).detach().flatten(1 if "weight" in tensor else 0)
            alive = rows.any(1) if rows.ndim > 1 else rows != 0
            assert not alive[~kept].any()


def test_a_table_prunes_what_it_names_and_single_weights_of_linear_layers(
    tmp_path: Path, trained: dict[str, Alone]
) -> None:
    source = trained["lenet5"]
    table = {"conv3": 50.0, "fc1": 30.0, "fc1.weight": 60.0, "classifier.weight": 25.0}
    made = alone(_config(source, PruningConfig(percent=table, slice=False)), tmp_path)
    before, _ = load(source.member("W").checkpoint)
    after, _ = load(made.member("pruned").checkpoint)
    orders = load_file(source.file("order.safetensors"))
    for name in ("conv1.weight", "conv2.weight"):
        assert torch.equal(after.get_parameter(name), before.get_parameter(name))
    fc1 = kept_by_order(
        rank(before.get_parameter("fc1.weight").detach().abs(), orders["fc1.weight"], "mixed"), 60
    )
    rows = after.get_parameter("fc1.bias") != 0
    assert int(rows.sum()) == 7
    assert torch.equal(after.get_parameter("fc1.weight") != 0, fc1 & rows[:, None])
    classifier = after.get_parameter("classifier.weight")
    assert int((classifier != 0).sum()) == _kept(made)["classifier.weight"]
    assert 0.7 < float((classifier != 0).double().mean()) < 0.76


BUDGETS = [("vgg11", "max_macs", 0.5), ("vgg11", "max_params", 0.6)]
BUDGETS += [("resnet20", "max_macs", 0.7), ("lenet5", "max_params", 0.5)]


@pytest.mark.parametrize(("name", "cap", "share"), BUDGETS)
def test_a_budget_is_met_by_the_sliced_network(
    tmp_path: Path, trained: dict[str, Alone], name: str, cap: str, share: float
) -> None:
    net, _ = load(trained[name].member("W").checkpoint)
    whole = dict(zip(("max_params", "max_macs"), net.cost(), strict=True))[cap]
    budget: dict[str, Any] = {cap: int(share * whole)}
    pruning = PruningConfig(order="lexicographic", **budget)
    made = alone(_config(trained[name], pruning), tmp_path)
    sliced, about = load(made.member("pruned").checkpoint)
    cost = dict(zip(("max_params", "max_macs"), sliced.cost(), strict=True))[cap]
    assert 0.4 * share * whole < cost <= share * whole
    assert made.path.found is not None
    assert (made.path.found["params"], made.path.found["macs"]) == sliced.cost()
    assert {g: sliced.widths[g] for g in sliced.widths} == _kept(made)
    for group, entry in about.entry.items():
        assert len(entry) == sliced.widths[group]


def test_a_budget_below_the_minimum_is_refused_with_the_numbers(
    tmp_path: Path, trained: dict[str, Alone]
) -> None:
    net, _ = load(trained["vgg11"].member("W").checkpoint)
    least = net.rebuild(type(net.widths)(dict.fromkeys(net.widths, 1))).cost()
    told = f"must be at least {least[1]} MACs and {least[0]} parameters, .* got max_macs 3 and"
    with pytest.raises(ValueError, match=told):
        alone(_config(trained["vgg11"], PruningConfig(max_macs=3)), tmp_path / "family")
    assert not (tmp_path / "family").exists()


def _pruned(config: PruneConfig, output: Path) -> tuple[Backbone, str]:
    """Return the network as it is tuned, and the kind of its member, whose norms are others."""
    output.mkdir()
    around = Surroundings(directories=[], output=output, recorder=RunList())
    place = workplace(around, data=config.data, compute=config.compute, batch=128, begun=0.0)
    run = _begin(config, place)
    _prune(config, run, Family(output=output, config={}))
    return run.net, run.members[0].kind


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", BACKBONES)
def test_the_sliced_network_computes_what_the_masked_one_does(
    tmp_path: Path, trained: dict[str, Alone], name: str, *, bias: bool
) -> None:
    """Where the fold is exact: that of a block in a ResNet whose norms stay is not."""
    source = trained[name]
    percent: dict[str, dict[str, float]] = {
        "lenet5": {"conv3": 50, "fc1": 40},
        "vgg11": {"conv6": 30, "conv8": 50},  # read by a map of 1 px and by the classifier
        "resnet20": {"stage1": 50, "stage1.block1": 50, "stage2": 50, "stage3": 40}
        if bias
        else {"stage3.block3": 40},
    }
    nets: dict[bool, Backbone] = {}
    for sliced in (True, False):
        pruning = PruningConfig(order="norm", percent=percent[name], bias=bias, slice=sliced)
        nets[sliced], kind = _pruned(_config(source, pruning), tmp_path / str(sliced))
        assert kind == ("pruned" if sliced else "masked")
    assert nets[True].cost()[0] < nets[False].cost()[0]
    if name != "resnet20" or bias:
        size = source.config.data.image_size or 8
        images = torch.nn.functional.interpolate(read_digits("test").images / 16.0, (size, size))
        with torch.no_grad():
            ours, theirs = (nets[sliced].eval()(images) for sliced in (True, False))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    before, _ = load(source.member("W").checkpoint)
    coupling = before.coupling()
    for group in percent[name]:
        ties = (*coupling.group(group).tensors("producer"), *coupling.group(group).tensors("norm"))
        for shift in (each for each in ties if each.endswith(".bias")):
            stays = torch.equal(nets[False].get_parameter(shift), before.get_parameter(shift))
            assert stays != bias


@pytest.mark.parametrize("slice_", [False, True])
def test_tuning_keeps_the_masks_exactly(
    tmp_path: Path, trained: dict[str, Alone], *, slice_: bool
) -> None:
    table = {"conv2": 50.0, "conv8": 30.0, "classifier.weight": 60.0}
    keeper = States(every=1)
    config = _config(
        trained["vgg11"],
        PruningConfig(percent=table, slice=slice_),
        finetune=TrainingConfig(epochs=2, schedule="cosine"),
    )
    made = alone(config, tmp_path, keeper=keeper)
    pruned = load_file(made.member("pruned").checkpoint)
    tuned = load_file(made.member("pruned, tuned").checkpoint)
    zeros = {n: t == 0 for n, t in pruned.items() if "weight" in n and t.ndim > 1}
    assert zeros["classifier.weight"].any()
    assert bool(zeros["features.conv2.conv.weight"].any()) == (not slice_)
    for weights in (*(state.below("net") for state in keeper.states), tuned):
        assert all(not weights[name][zero].any() for name, zero in zeros.items())
    moved = any(
        bool(
            state.below("optimizer")["classifier.weight/momentum_buffer"][
                zeros["classifier.weight"]
            ].any()
        )
        for state in keeper.states
    )
    assert moved
    assert [member.kind for member in made.result.members] == [
        "pruned" if slice_ else "masked", "tuned",
    ]  # fmt: skip
    assert made.path.found is not None
    assert set(made.path.found["accuracy"]) == {
        "source", "pruned", "pruned, norms measured anew", "tuned",
    }  # fmt: skip


def test_a_sliced_member_is_pruned_by_the_order_of_the_filters_that_it_has_left(
    tmp_path: Path, trained: dict[str, Alone]
) -> None:
    first = alone(_config(trained["vgg11"], PruningConfig(percent=40)), tmp_path / "first")
    source = replace(_source(trained["vgg11"]), checkpoint=first.member("pruned").checkpoint)
    pruning = PruningConfig(order="lexicographic", percent=50)
    second = alone(_config(trained["vgg11"], pruning, source=source), tmp_path / "second")
    before, about = load(source.checkpoint)
    after, left = load(second.member("pruned").checkpoint)
    for group, width in after.widths.items():
        assert width < before.widths[group]
        assert set(left.entry[group]) <= set(about.entry[group])


def test_an_order_file_is_of_no_use_where_it_is_none(
    tmp_path: Path, trained: dict[str, Alone]
) -> None:
    (tmp_path / "order.safetensors").write_bytes(b"nonsense")
    source = replace(_source(trained["vgg11"]), order=tmp_path / "order.safetensors")
    config = _config(trained["vgg11"], PruningConfig(percent=40), source=source)
    with pytest.raises(CheckpointError, match=r"order\.safetensors must be a safetensors file"):
        alone(config, tmp_path / "family")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_bare_file_of_tensors_serves_by_norm_its_widths_read_off(
    tmp_path: Path, trained: dict[str, Alone], name: str
) -> None:
    whole, _ = load(trained[name].member("W").checkpoint)
    save_file(load_file(trained[name].member("W").checkpoint), tmp_path / "bare.safetensors")
    bare = Source(checkpoint=tmp_path / "bare.safetensors")
    pruning = PruningConfig(order="norm", percent=50)
    made = alone(_config(trained[name], pruning, source=bare), tmp_path / "family")
    sliced, _ = load(made.member("pruned").checkpoint)
    assert sliced.cost()[0] < whole.cost()[0]
    assert made.path.found is not None
    assert made.path.found["accuracy"]["source"] == trained[name].member("W").validation_accuracy
    for order, percent, told in (
        ("mixed", {"classifier.weight": 50}, "classifier.weight cannot be ranked: order 'mixed'"),
        ("lexicographic", 50, f"{next(iter(whole.widths))} cannot be ranked: order 'lexico"),
    ):
        asked = PruningConfig(order=order, percent=percent)
        with pytest.raises(ValueError, match=told):
            alone(_config(trained[name], asked, source=bare), tmp_path / "refused")
    with pytest.raises(ValueError, match="needs the entry order of every group, that of"):
        alone(_config(trained[name], PruningConfig(max_params=10), source=bare), tmp_path / "no")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone": "vgg13"}, "the source must be a vgg13, it is a vgg11"),
        (
            {"data": LARGE},
            "suit the data set 'digits', .* 1 channels, 28 px and 10 classes; .* and 8 px",
        ),
        (
            {"data": DataConfig(dataset="stripes")},
            "suit the data set 'stripes', .* 3 classes; .* tells 10 classes apart",
        ),
        (
            {"pruning": PruningConfig(percent={"conv9": 10})},
            "percent must name groups or linear weights, conv1, .*classifier.weight; got conv9",
        ),
    ],
)
def test_a_source_or_a_table_that_does_not_suit_is_refused_by_name(
    tmp_path: Path, trained: dict[str, Alone], directory: Path, change: dict[str, Any], told: str
) -> None:
    config = replace(_config(trained["vgg11"], PruningConfig(percent=40)), **change)
    with pytest.raises(ValueError, match=told):
        alone(config, tmp_path / "family", [directory])
    assert not (tmp_path / "family").exists()


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({}, "must hold a tensor 'features.conv1.conv.weight'"),
        ({"features.conv1.conv.weight": torch.zeros(())}, "tensor 'features.conv1.conv.weight'"),
        ({"classifier.weight": None}, "must hold a tensor 'classifier.weight', the file does not"),
        ({"classifier.bias": None}, "must hold a tensor 'classifier.bias', .* 1 of 50 are missing"),
        ({"other": torch.zeros(1)}, "must hold no tensors but its own, the file has other"),
    ],
)
def test_a_bare_file_of_something_else_is_refused(
    tmp_path: Path, trained: dict[str, Alone], tensors: dict[str, Tensor | None], told: str
) -> None:
    own = load_file(trained["vgg11"].member("W").checkpoint) if tensors else {}
    merged = {name: t for name, t in {**own, **tensors}.items() if t is not None}
    save_file(merged or {"other": torch.zeros(3)}, tmp_path / "bare.safetensors")
    source = Source(checkpoint=tmp_path / "bare.safetensors")
    config = _config(trained["vgg11"], PruningConfig(order="norm", percent=9), source=source)
    with pytest.raises(CheckpointError, match=re.compile(told, re.DOTALL)):
        alone(config, tmp_path / "family")


def test_a_latency_is_told_with_the_findings_and_with_every_model(
    tmp_path: Path, trained: dict[str, Alone]
) -> None:
    """Whatever was measured here: no test knows how fast a machine is."""
    pruning = PruningConfig(order="norm", max_latency_ms=1e5)
    made = alone(_config(trained["vgg11"], pruning), tmp_path)
    assert made.path.found is not None
    told = made.path.found["latency"]
    assert told["target_ms"] == 1e5
    assert told["threads"] == 1
    assert "nothing went" in told["why"]
    assert [member.latency_ms for member in made.result.members] == [told["reached_ms"]]
    assert made.member("pruned").widths == trained["vgg11"].member("W").widths


def test_an_attempt_that_goes_on_does_not_choose_anew(
    tmp_path: Path, trained: dict[str, Alone]
) -> None:
    keeper = States()
    pruning = PruningConfig(order="norm", max_latency_ms=1e5)
    tuned = TrainingConfig(epochs=2)
    config = _config(trained["vgg11"], pruning, finetune=tuned)
    whole = alone(config, tmp_path / "whole", keeper=keeper)
    rest = alone(config, tmp_path / "rest", state=keeper.states[-1])
    assert rest.path.found == whole.path.found
