"""A file of torch.export predicts as its network does."""

from pathlib import Path

import torch

from slbi.export.pt2 import to_pt2
from slbi.nets.backbones import build, standard_widths
from slbi.nets.widths import Widths


def test_what_torch_export_loads_predicts_the_same_bits_for_any_number_of_images(
    tmp_path: Path,
) -> None:
    widths = Widths(dict.fromkeys(standard_widths("resnet20", 16), 5))
    net = build("resnet20", widths, in_channels=1, size=16, classes=4).eval()

    to_pt2(net, (1, 16, 16), tmp_path / "net.pt2")

    loaded = torch.export.load(tmp_path / "net.pt2").module()
    for count in (1, 2, 5):
        images = torch.randn(count, 1, 16, 16)
        assert torch.equal(loaded(images), net(images))
