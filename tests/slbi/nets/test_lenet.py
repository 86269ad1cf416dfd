import pytest
import torch

from slbi.nets import backbones


@pytest.mark.parametrize("size", [28, 32])
def test_both_sizes_end_in_one_pixel(size: int) -> None:
    net = backbones.build("lenet5", in_channels=3, size=size, classes=10, device="meta")
    assert net(torch.empty(2, 3, size, size, device="meta")).shape == (2, 10)


def test_both_sizes_have_one_set_of_weights() -> None:
    small, large = (
        backbones.build("lenet5", in_channels=3, size=size, classes=10) for size in (28, 32)
    )
    small.load_state_dict(large.state_dict())
    image = torch.randn(1, 3, 28, 28)
    framed = torch.nn.functional.pad(image, (2, 2, 2, 2))
    torch.testing.assert_close(small(image), large(framed))
