"""State dicts that the tests write, of torchvision's networks with random weights."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import Tensor, nn

from slbi.growth.narrow import narrow, start_widths
from slbi.nets.graph.find import find
from worker.training import backbones
from worker.training.checkpoint import CheckpointError
from worker.training.pretrained import Pretrained, pretrained, read_tensors, tells

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = torchvision.models.resnet18(num_classes=7)
    return net


def _made(tensors: State, backbone: str = "resnet18", **shape: int) -> Pretrained:
    draw = torch.Generator().manual_seed(1)
    return pretrained(
        tensors,
        backbone,
        stem="standard",
        generator=draw,
        **{"in_channels": 3, "size": 32, "classes": 7, **shape},
    )


def _logits(net: nn.Module) -> Tensor:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found: Tensor = net.eval()(images)
    return found


@pytest.mark.parametrize("prefix", ["", "net."])
def test_a_state_of_torchvision_computes_the_same_whatever_stands_before_its_names(
    resnet: nn.Module, prefix: str
) -> None:
    made = _made({f"{prefix}{name}": tensor for name, tensor in resnet.state_dict().items()})
    assert torch.equal(_logits(made.net), _logits(resnet))
    assert made.adapted == ()


def test_a_state_of_this_project_comes_back_as_it_was() -> None:
    net = backbones.build("resnet20", in_channels=3, size=32, classes=7)
    made = _made(net.state_dict(), "resnet20")
    assert torch.equal(_logits(made.net), _logits(net))


def test_widths_are_read_off_the_shapes(resnet: nn.Module) -> None:
    found = find(resnet, (3, 32, 32))
    slim = narrow(resnet, start_widths(found, ratio=0.25), found=found)
    made = _made(slim.state_dict())
    assert made.net.widths["layer4.0.conv1"] == 128
    torch.testing.assert_close(_logits(made.net), _logits(slim))


def test_counters_of_batches_that_old_files_lack_are_not_missed(resnet: nn.Module) -> None:
    old = {name: t for name, t in resnet.state_dict().items() if "num_batches" not in name}
    assert torch.equal(_logits(_made(old).net), _logits(resnet))


def test_a_classifier_of_other_classes_begins_anew_and_nothing_else_does(
    resnet: nn.Module,
) -> None:
    state = resnet.state_dict()
    made = _made(state, classes=10)
    own = made.net.state_dict()
    other = {name for name in state if not torch.equal(own[f"net.{name}"], state[name])}
    assert other == {"fc.weight", "fc.bias"}
    assert own["net.fc.weight"].shape == (10, 512)
    assert not own["net.fc.bias"].any()
    assert made.adapted == ("net.fc.bias, net.fc.weight: begun anew, for 10 classes instead of 7",)


def test_a_grey_image_is_answered_as_its_three_equal_channels_were(resnet: nn.Module) -> None:
    made = _made(resnet.state_dict(), in_channels=1)
    grey = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(
            made.net.eval()(grey), resnet.eval()(grey.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4
        )
    assert made.adapted == ("net.conv1.weight: summed over its 3 channels, for images of 1",)
    back = _made({n.removeprefix("net."): t for n, t in made.net.state_dict().items()})
    assert "shared out over the 3 of the images" in back.adapted[0]
    coloured = grey.expand(-1, 3, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(
            back.net.eval()(coloured), made.net.eval()(grey), atol=1e-4, rtol=1e-4
        )


def _without(name: str) -> Callable[[State], State]:
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


def _with(name: str, tensor: Tensor) -> Callable[[State], State]:
    return lambda state: {**state, name: tensor}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without("layer1.0.bn1.bias"), "must hold a tensor 'layer1.0.bn1.bias', the file does"),
        (_with("head.weight", torch.zeros(1)), "no tensors but its own, the file has head.weight"),
        (
            _with("layer1.0.conv2.weight", torch.zeros(64, 9, 3, 3)),
            "tensor 'net.layer1.0.conv2.weight' must be of shape (64, 64, 3, 3), got (64, 9, 3, 3)",
        ),
        (
            _with("fc.weight", torch.zeros(7, 100)),
            "tensor 'net.fc.weight' must be of shape (7, 512), got (7, 100)",
        ),
        (
            _with("conv1.weight", torch.zeros(64, 4, 7, 7)),
            "tensor 'net.conv1.weight' must be of shape (64, 3, 7, 7), got (64, 4, 7, 7)",
        ),
        (_with("conv1.weight", torch.zeros(())), "'net.conv1.weight' must hold whole filters"),
        (_with("fc.weight", torch.zeros(())), "tensor 'net.fc.weight' must be of shape (7, 512)"),
    ],
)
def test_anything_else_is_refused_with_the_tensor_and_both_shapes(
    resnet: nn.Module, change: Callable[[State], State], told: str
) -> None:
    with pytest.raises(CheckpointError, match=re.escape(told)):
        _made(change(resnet.state_dict()))


def test_a_network_of_another_name_is_refused(resnet: nn.Module) -> None:
    with pytest.raises(CheckpointError, match=r"a resnet34 must hold a tensor 'layer1\.2"):
        _made(resnet.state_dict(), "resnet34")


def test_a_file_that_torch_wrote_is_read_only_where_it_is_ones_own(
    tmp_path: Path, resnet: nn.Module
) -> None:
    torch.save(resnet.state_dict(), tmp_path / "net.pth")
    assert not tells(tmp_path / "net.pth")
    read = read_tensors(tmp_path / "net.pth", pickled=True)
    assert read.keys() == resnet.state_dict().keys()
    with pytest.raises(CheckpointError, match=r"net\.pth must be a safetensors file"):
        read_tensors(tmp_path / "net.pth", pickled=False)
    (tmp_path / "net.pth").rename(tmp_path / "sent")  # an upload's name ends in nothing
    for pickled in (True, False):
        with pytest.raises(CheckpointError, match="sent must be a safetensors file"):
            read_tensors(tmp_path / "sent", pickled=pickled)


class Harm:
    """What no reader may call."""

    called: list[int] = []  # noqa: RUF012 -- shared on purpose

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return (Harm.called.append, (1,))


@pytest.mark.parametrize(
    "write", [torch.save, lambda it, path: path.write_bytes(pickle.dumps(it, 2))]
)
def test_nothing_is_unpickled(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    write({"conv1.weight": Harm()}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="must hold tensors alone"):
        read_tensors(tmp_path / "net.pth", pickled=True)
    assert Harm.called == []


@pytest.mark.parametrize("content", [[1], {"epoch": 3}, {"state_dict": {"a": torch.zeros(1)}}])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="must hold a state dict: tensors by their names"):
        read_tensors(tmp_path / "net.pth", pickled=True)
    (tmp_path / "torn.pth").write_bytes((tmp_path / "net.pth").read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="must hold tensors alone"):
        read_tensors(tmp_path / "torn.pth", pickled=True)


def test_a_safetensors_file_without_a_description_tells_nothing(
    tmp_path: Path, resnet: nn.Module
) -> None:
    save_file(resnet.state_dict(), tmp_path / "net.safetensors")
    assert not tells(tmp_path / "net.safetensors")
    read = read_tensors(tmp_path / "net.safetensors", pickled=False)
    assert torch.equal(read["fc.bias"], resnet.state_dict()["fc.bias"])
