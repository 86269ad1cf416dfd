import torch
from torch.nn.functional import batch_norm, conv2d, pad, relu

from slbi.nets import backbones
from slbi.nets.shortcut import Shortcut


def test_a_fresh_shortcut_pads_with_zeros_behind() -> None:
    x = torch.randn(2, 3, 5, 5)
    expected = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 2))
    assert torch.equal(Shortcut(3, 5, stride=2)(x), expected)


def test_a_shortcut_into_fewer_filters_carries_the_first() -> None:
    x = torch.randn(2, 5, 4, 4)
    assert torch.equal(Shortcut(5, 3, stride=2)(x), x[:, :3, ::2, ::2])


def test_a_shortcut_carries_what_its_table_says() -> None:
    shortcut = Shortcut(3, 4, stride=2)
    shortcut.source.copy_(torch.tensor([2, -1, 0, -1]))
    x = torch.randn(1, 3, 4, 4)
    out = shortcut(x)
    assert torch.equal(out[:, 0], x[:, 2, ::2, ::2])
    assert torch.equal(out[:, 2], x[:, 0, ::2, ::2])
    assert not out[:, [1, 3]].any()


def test_a_block_between_stages_is_the_published_one() -> None:
    net = backbones.build("resnet20", in_channels=3, size=8, classes=4, dtype=torch.float64).eval()
    state = net.state_dict()
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)

    def normalised(x: torch.Tensor, name: str) -> torch.Tensor:
        prefix = f"stages.stage2.block1.{name}"
        return batch_norm(
            x,
            state[f"{prefix}.running_mean"],
            state[f"{prefix}.running_var"],
            state[f"{prefix}.weight"],
            state[f"{prefix}.bias"],
        )

    first = state["stages.stage2.block1.conv1.weight"]
    second = state["stages.stage2.block1.conv2.weight"]
    inner = relu(normalised(conv2d(x, first, stride=2, padding=1), "norm1"))
    added = normalised(conv2d(inner, second, padding=1), "norm2")
    expected = relu(added + pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 16)))
    block = net.get_submodule("stages.stage2.block1")
    torch.testing.assert_close(block(x), expected)


def test_depth_is_the_number_of_layers_with_weights() -> None:
    for depth in (20, 32, 44, 56, 110):
        net = backbones.build(f"resnet{depth}", in_channels=3, size=32, classes=10, device="meta")
        assert len(net.outline().layers) == depth
