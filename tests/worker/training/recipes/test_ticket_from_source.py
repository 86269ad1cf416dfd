"""Tickets that are searched for in a network that somebody trained before."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision.models
from safetensors.torch import load_file, save_file

from slbi.growth.narrow import narrow, start_widths
from slbi.nets.graph.find import find
from tests.runs import States, alone, initial
from worker.training.checkpoint import load
from worker.training.config import ComputeConfig, DataConfig, OptimConfig
from worker.training.device import Compute, generator
from worker.training.plans import MaskConfig, Source, TicketConfig, TrainingConfig, TwinConfig
from worker.training.recipes.conduct import Surroundings, workplace
from worker.training.recipes.fresh import fresh
from worker.training.recorder import RunList

QUICK = TicketConfig(
    backbone="vgg11",
    data=DataConfig(dataset="digits"),
    optim=OptimConfig(batch=128, mu=1.0),
    twin=TwinConfig(structure="filter", threshold=1.0),
    train=TrainingConfig(epochs=2, learning_rate=0.1),
    mask=MaskConfig(epoch=2),
    retrain=TrainingConfig(epochs=1, learning_rate=1e-12),  # the weights stay where they begin
    compute=ComputeConfig(device="cpu", threads=1),
)


def _source(folder: Path, *, seed: int = 0, width: int = 5) -> Source:
    """Return the file of a VGG-11 of one width; seed 0 is that of the runs' initial weights."""
    state = initial(width)
    if seed:
        draw = torch.Generator().manual_seed(seed)
        state = {
            name: tensor.clone().normal_(generator=draw) if tensor.ndim > 1 else tensor
            for name, tensor in state.items()
        }
    save_file(state, folder / "net.safetensors")
    return Source(checkpoint=folder / "net.safetensors")


def test_a_source_of_the_initial_weights_gives_the_ticket_of_a_fresh_run(tmp_path: Path) -> None:
    config = replace(QUICK, retrain=TrainingConfig(epochs=1))
    first = alone(replace(config, widths=5), tmp_path / "fresh")
    second = alone(replace(config, source=_source(tmp_path)), tmp_path / "source")
    for one, other in zip(first.result.members, second.result.members, strict=True):
        assert (one.kind, one.widths) == (other.kind, other.widths)
        assert one.validation_accuracy == other.validation_accuracy
    assert second.path.found is not None
    assert second.path.found["start"] == "source"


@pytest.mark.parametrize("start", [None, "source", "initial"])
def test_the_arms_begin_at_the_source_or_at_weights_that_nothing_trained(
    tmp_path: Path, start: str | None
) -> None:
    source = _source(tmp_path, seed=4)
    config = replace(QUICK, source=source, start=start, rivals=("dense",))  # type: ignore[arg-type]  # a parameter is text
    made = alone(config, tmp_path / "run")
    dense, _ = load(made.member("its weights without a mask").checkpoint)
    around = Surroundings(directories=[], output=tmp_path, recorder=RunList())
    data = workplace(around, data=QUICK.data, compute=QUICK.compute, batch=8, begun=0.0).data
    compute = Compute(device=torch.device("cpu"), precision="float32")
    like = replace(QUICK, widths=5)
    untrained = fresh(like, data, compute, generator(0, "initial")).state_dict()
    theirs = untrained if start == "initial" else load_file(source.checkpoint)
    for name, tensor in dense.state_dict().items():
        if tensor.ndim > 1:
            torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=0)


def test_a_run_from_a_source_goes_on_where_it_was(tmp_path: Path) -> None:
    config = replace(QUICK, source=_source(tmp_path, seed=4), start="initial")
    keeper = States(every=10**6)
    whole = alone(config, tmp_path / "whole", keeper=keeper)
    middle = keeper.states[len(keeper.states) // 2]
    rest = alone(config, tmp_path / "rest", state=middle)
    assert [m.validation_accuracy for m in rest.result.members] == [
        m.validation_accuracy for m in whole.result.members
    ]


def test_a_file_that_torch_wrote_serves_with_another_classifier_and_grey_images(
    tmp_path: Path,
) -> None:
    net = torchvision.models.resnet18(num_classes=7)
    found = find(net, (3, 32, 32))
    slim = narrow(net, start_widths(found, ratio=1 / 16), found=found)
    torch.save(slim.state_dict(), tmp_path / "resnet18.pth")
    config = replace(
        QUICK,
        backbone="resnet18",
        data=DataConfig(dataset="digits", image_size=32),
        source=Source(checkpoint=tmp_path / "resnet18.pth", local=True),
        train=TrainingConfig(epochs=1),
        mask=MaskConfig(epoch=1),
        rivals=(),
    )
    made = alone(config, tmp_path / "run")
    assert made.path.found is not None
    adapted = made.path.found["adapted"]
    assert any("for 10 classes instead of 7" in said for said in adapted)
    assert any("summed over its 3 channels" in said for said in adapted)
    (member,) = made.result.members
    assert max(member.widths.values()) <= 32


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"start": "source", "source": None}, "start needs a source, got 'source' without one"),
        ({"start": "end"}, "start must be one of source, initial, got 'end'"),
        ({"widths": 5}, "widths must be those of the source, got 5"),
        (
            {"start": "initial", "mask": MaskConfig(rewind=1)},
            "mask rewind must be 0 where the ticket starts from initial weights, got 1",
        ),
    ],
)
def test_what_does_not_go_with_a_source_is_refused(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    whole = {"source": Source(checkpoint=tmp_path / "net"), **change}
    with pytest.raises(ValueError, match=told):
        replace(QUICK, **whole)  # type: ignore[arg-type]  # by name
