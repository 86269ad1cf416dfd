"""A network as data: rebuilt by torch alone, bit for bit, and by nothing that the files bring."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from slbi.export.load import load
from slbi.export.network import to_network
from slbi.nets.backbones import build, standard_widths
from slbi.nets.widths import Widths

FOREIGN = """
import sys
sys.modules.update(dict.fromkeys(("slbi", "worker", "torchvision", "safetensors", "numpy")))
sys.path.insert(0, ".")

import torch
from load import load

network = load(".")
torch.save([network(images) for images in torch.load("images.pt")], "logits.pt")
"""
"""What a stranger runs: an entry of None in `sys.modules` is a module that cannot be imported."""


def _narrow(name: str, size: int = 32) -> nn.Module:
    widths = Widths({group: 3 + n for n, group in enumerate(standard_widths(name, size))})
    generator = torch.Generator().manual_seed(0)
    return build(name, widths, in_channels=3, size=size, classes=5, generator=generator).eval()


def _torchvision(name: str) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=7)
    return net.eval()


@pytest.mark.parametrize("name", ["lenet5", "vgg11", "resnet20"])
def test_a_stranger_with_torch_alone_predicts_the_same_bits(name: str, tmp_path: Path) -> None:
    net = _narrow(name)
    batches = [torch.randn(count, 3, 32, 32) for count in (1, 2, 5)]
    to_network(net, (3, 32, 32), tmp_path)
    torch.save(batches, tmp_path / "images.pt")

    environment = {key: os.environ[key] for key in os.environ if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", FOREIGN], cwd=tmp_path, env=environment, check=True)

    logits: list[Tensor] = torch.load(tmp_path / "logits.pt")
    assert [each.shape for each in logits] == [(1, 5), (2, 5), (5, 5)]
    assert all(torch.equal(a, net(b)) for a, b in zip(logits, batches, strict=True))


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5"]
)
def test_networks_of_other_libraries_come_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    net = _torchvision(name)

    to_network(net, (3, 64, 64), tmp_path)

    network = load(tmp_path)
    for count in (1, 3):
        images = torch.randn(count, 3, 64, 64)
        assert torch.equal(network(images), net(images))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet18", 64), ("mobilenet_v2", 64), ("densenet121", 64), ("efficientnet_b0", 64),
        ("regnet_y_400mf", 64), ("convnext_tiny", 64), ("swin_t", 64), ("swin_v2_t", 64),
        ("vit_b_32", 64), ("maxvit_t", 224),
    ],
)  # fmt: skip
def test_every_family_comes_back_bit_for_bit(name: str, side: int, tmp_path: Path) -> None:
    sized = {"image_size": side} if name == "vit_b_32" else {}
    net = torchvision.models.get_model(name, weights=None, **sized).eval()

    to_network(net, (3, side, side), tmp_path)

    network = load(tmp_path)
    for count in (1, 3):
        images = torch.randn(count, 3, side, side)
        assert torch.equal(network(images), net(images))


def test_the_weights_lie_under_the_names_that_they_have_in_the_network(tmp_path: Path) -> None:
    net = _narrow("resnet20")
    state = net.state_dict()

    to_network(net, (3, 32, 32), tmp_path)

    saved = load_file(tmp_path / "weights.safetensors")
    assert set(saved) == set(state)
    assert all(torch.equal(saved[name], state[name]) for name in state)


class _Odd(nn.Module):
    """Takes what JSON has no word for: infinity, a dtype, a text, and a table of its own."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(3.0).view(3, 1, 1), persistent=False)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        x = (x + self.table).masked_fill(x < 0, float("-inf")).clamp(min=-1e3)
        x = torch.einsum("nchw->nc", x.to(torch.float64).relu())
        logits: Tensor = x.reshape(x.shape[0] * 3).view(-1, 3).float() * self.scale
        return logits


def test_what_json_has_no_word_for_is_carried_too(tmp_path: Path) -> None:
    net = _Odd().eval()

    to_network(net, (3, 4, 4), tmp_path)

    for count in (1, 4):
        images = torch.randn(count, 3, 4, 4)
        assert torch.equal(load(tmp_path)(images), net(images))


def test_what_the_loader_would_refuse_is_refused_when_it_is_written(tmp_path: Path) -> None:
    class Grad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                y = x * 2
            logits: Tensor = y.mean((2, 3))
            return logits

    with pytest.raises(ValueError, match="must be an operator of ATen"):
        to_network(Grad(), (3, 4, 4), tmp_path)
    assert list(tmp_path.iterdir()) == []


def _foreign(op: str, *args: Any) -> dict[str, Any]:  # noqa: ANN401 -- whatever JSON can say
    return {"name": "foreign", "op": op, "args": list(args), "kwargs": {}, "last": []}


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (_foreign("prims.add.default", 1, 2), "must be one of aten, got 'prims.add.default'"),
        (_foreign("os.system", "true"), "must be one of aten, got 'os.system'"),
        (_foreign("aten.__class__.mro"), "must be one of aten"),
        (_foreign("aten.add.Tensor.redispatch", 1, 2), "must be one of aten"),
        (_foreign("aten.from_file.default", "weights.safetensors"), "must take no text"),
        (_foreign("aten.relu.default", [["eval"]]), "must take no text"),
        (_foreign("aten.relu.default", {"torch": "load"}), "type of torch, got 'load'"),
        (_foreign("aten.relu.default", {"code": "load"}), "type of torch, got 'load'"),
    ],
)
def test_a_graph_that_names_anything_but_operators_of_torch_is_refused(
    node: dict[str, Any], told: str, tmp_path: Path
) -> None:
    to_network(_Odd(), (3, 4, 4), tmp_path)
    graph = json.loads((tmp_path / "network.json").read_text())
    graph["nodes"].append(node)
    (tmp_path / "network.json").write_text(json.dumps(graph))

    with pytest.raises(ValueError, match=told):
        load(tmp_path)


def test_a_file_of_a_later_format_is_refused(tmp_path: Path) -> None:
    to_network(_Odd(), (3, 4, 4), tmp_path)
    graph = json.loads((tmp_path / "network.json").read_text())
    (tmp_path / "network.json").write_text(json.dumps(graph | {"format": 2}))

    with pytest.raises(ValueError, match="must be of format 1, got 2"):
        load(tmp_path)


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    to_network(_narrow("lenet5"), (3, 32, 32), tmp_path)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4])

    with pytest.raises(ValueError, match="must have"):
        load(tmp_path)
