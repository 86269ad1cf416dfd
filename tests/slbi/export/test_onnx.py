"""An ONNX file predicts as its network does, read by a runtime that knows nothing of torch."""

from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from slbi.export.onnx import OPSET, to_onnx
from slbi.nets.backbones import build, standard_widths
from slbi.nets.widths import Widths

ROUNDING = 1e-5
"""Largest change of a logit relative to the largest: sums in another order, some layers deep."""


def _narrow(name: str) -> nn.Module:
    widths = Widths({group: 3 + n for n, group in enumerate(standard_widths(name, 32))})
    generator = torch.Generator().manual_seed(0)
    return build(name, widths, in_channels=3, size=32, classes=5, generator=generator).eval()


def _predicted(path: Path, images: Tensor) -> Tensor:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    return torch.from_numpy(logits)


@pytest.mark.parametrize("name", ["lenet5", "vgg11", "resnet20"])
def test_onnxruntime_predicts_what_the_network_predicts_for_any_number_of_images(
    name: str, tmp_path: Path
) -> None:
    net = _narrow(name)

    to_onnx(net, (3, 32, 32), tmp_path / "net.onnx")

    for count in (1, 6):
        images = torch.randn(count, 3, 32, 32)
        logits = net(images).detach()
        change = (_predicted(tmp_path / "net.onnx", images) - logits).abs().max()
        assert change <= ROUNDING * logits.abs().max()


def test_the_file_is_alone_and_says_its_opset_and_its_free_batch(tmp_path: Path) -> None:
    to_onnx(_narrow("lenet5"), (3, 32, 32), tmp_path / "net.onnx")

    model = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    assert (sizes[0].dim_param, [size.dim_value for size in sizes[1:]]) == ("batch", [3, 32, 32])


def test_a_later_opset_can_be_asked_for_and_an_earlier_one_not(tmp_path: Path) -> None:
    to_onnx(_narrow("lenet5"), (3, 32, 32), tmp_path / "net.onnx", opset=20)

    assert onnx.load(tmp_path / "net.onnx").opset_import[0].version == 20
    with pytest.raises(ValueError, match="opset must be 18 or more, got 17"):
        to_onnx(_narrow("lenet5"), (3, 32, 32), tmp_path / "net.onnx", opset=17)


def test_the_file_does_not_tell_where_on_this_machine_it_was_made(tmp_path: Path) -> None:
    to_onnx(_narrow("lenet5"), (3, 32, 32), tmp_path / "net.onnx")

    content = (tmp_path / "net.onnx").read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in content
    assert str(Path(__file__).parents[3]).encode() not in content


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")

    with pytest.raises(ValueError, match="opset"):
        to_onnx(_narrow("lenet5"), (3, 32, 32), path, opset=17)

    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
