"""Small networks, one for each way in which tensors share filters, and the widths of their groups.

Every one takes images of (3, 8, 8) and gives 5 logits. A group is named after the module that makes
its filters first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    gelu,
    hardswish,
    max_pool2d,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    relu,
    relu6,
    silu,
)

from slbi.growth.widen import widen
from slbi.nets.counted import CountedLayerNorm
from slbi.nets.graph.find import Found
from slbi.nets.transfer import OptimizerT
from slbi.nets.widths import Widths

SHAPE = (3, 8, 8)


def conv(
    reads: int, makes: int, kernel: int = 3, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Return a convolution that keeps the size of the map."""
    return nn.Conv2d(reads, makes, kernel, padding=kernel // 2, groups=groups, bias=bias)


class Net(nn.Module):
    """A stem of 6 filters with a norm, whatever stands between, the mean, one linear layer."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.stem = conv(3, 6)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(last, 5)

    def body(self, x: Tensor) -> Tensor:
        """Return (N, last, H, W) from (N, 6, 8, 8)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 5)."""
        x = self.body(relu(self.norm(self.stem(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Residual(Net):
    """A stream with a block, and a projection into a wider one."""

    def __init__(self) -> None:
        super().__init__(8)
        self.block = nn.Sequential(
            conv(6, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 6), nn.BatchNorm2d(6)
        )
        self.inner = nn.Sequential(conv(6, 5), nn.ReLU(), conv(5, 8))
        self.projection = conv(6, 8, 1)

    def body(self, x: Tensor) -> Tensor:
        x = relu(x + self.block(x))
        made: Tensor = self.inner(x).add_(self.projection(x))
        return made


class Dense(Net):
    """Each layer reads all before it, through a norm."""

    def __init__(self) -> None:
        super().__init__(6 + 4 + 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(6), nn.BatchNorm2d(10)])
        self.layers = nn.ModuleList([conv(6, 4), conv(10, 3)])

    def body(self, x: Tensor) -> Tensor:
        features = [x]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            features.append(layer(relu(norm(torch.cat(features, 1)))))
        made: Tensor = torch.cat(features, axis=1)  # type: ignore[call-arg] # numpy's name
        return made


class Flat(Net):
    """A flatten before two linear layers, the first behind a dropout."""

    def __init__(self) -> None:
        super().__init__(7)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.layers = nn.Sequential(nn.Dropout(), nn.Linear(6 * 4, 9), nn.ReLU(), nn.Linear(9, 7))

    def body(self, x: Tensor) -> Tensor:
        x = torch.flatten(self.pool(x), 1)
        made: Tensor = self.layers(x)[:, :, None, None]
        return made


class Depthwise(Net):
    """A depthwise convolution with two filters a channel, and a grouped one."""

    def __init__(self) -> None:
        super().__init__(6)
        self.expand = conv(6, 8, 1)
        self.norm1 = nn.BatchNorm2d(8)
        self.depthwise = conv(8, 16, groups=8, bias=True)
        self.project = conv(16, 12, 1)
        self.grouped = conv(12, 6, groups=3)

    def body(self, x: Tensor) -> Tensor:
        x = self.depthwise(relu6(self.norm1(self.expand(x))))
        made: Tensor = self.grouped(hardswish(self.project(x)))
        return made


class Squeeze(Net):
    """Squeeze and excite: a stream is multiplied by what a small network makes of its means."""

    def __init__(self) -> None:
        super().__init__(6)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 3, 1), nn.SiLU(), nn.Conv2d(3, 6, 1), nn.Sigmoid()
        )

    def body(self, x: Tensor) -> Tensor:
        made: Tensor = x * self.squeeze(x)
        return made


class Scaled(Net):
    """A block whose end is scaled by a parameter, and a PReLU."""

    def __init__(self) -> None:
        super().__init__(6)
        self.layer = conv(6, 6)
        self.scale = nn.Parameter(torch.full((6, 1, 1), 0.5))
        self.shift = nn.Parameter(torch.zeros(1, 6, 1, 1))
        self.act = nn.PReLU(6)

    def body(self, x: Tensor) -> Tensor:
        made: Tensor = self.act(x + self.scale * self.layer(x) + self.shift)
        return made


class Shuffled(Net):
    """Pixel shuffle: four channels become one of a map twice as large."""

    def __init__(self) -> None:
        super().__init__(4)
        self.layer = conv(6, 16)
        self.shuffle = nn.PixelShuffle(2)
        self.last = conv(4, 4)

    def body(self, x: Tensor) -> Tensor:
        x = relu(self.shuffle(self.layer(x)))
        return max_pool2d(self.last(pixel_unshuffle(pixel_shuffle(pad(x, (1, 1, 1, 1)), 1), 1)), 2)


class Gated(Net):
    """One half of what a layer makes gates the other."""

    def __init__(self) -> None:
        super().__init__(4)
        self.layer = conv(6, 8, bias=True)

    def body(self, x: Tensor) -> Tensor:
        value, gate = self.layer(x).chunk(2, dim=1)
        made: Tensor = value * silu(gate)
        return made


class Dealt(Net):
    """Two branches, side by side, whose channels are dealt out in turn."""

    def __init__(self) -> None:
        super().__init__(8)
        self.left = conv(6, 4)
        self.right = conv(6, 4)
        self.last = conv(8, 8)

    def body(self, x: Tensor) -> Tensor:
        x = torch.cat((self.left(x), self.right(x)), dim=1)
        n, channels, height, width = x.size()
        x = x.view(n, 2, channels // 2, height, width)
        x = torch.transpose(x, 1, 2).contiguous().view(n, channels, height, width)
        return relu(self.last(x))


class Grouped(Net):
    """A GroupNorm: its groups come and go whole."""

    def __init__(self) -> None:
        super().__init__(12)
        self.layer = conv(6, 12)
        self.group_norm = nn.GroupNorm(4, 12)

    def body(self, x: Tensor) -> Tensor:
        return gelu(self.group_norm(self.layer(x)))


class Hidden(Net):
    """A ConvNeXt block: the hidden layer grows, the stream has a norm over all its filters."""

    def __init__(self) -> None:
        super().__init__(6)
        self.depthwise = conv(6, 6, 3, groups=6, bias=True)
        self.layer_norm = nn.LayerNorm(6)
        self.up = nn.Linear(6, 10)
        self.down = nn.Linear(10, 6)
        self.layer_scale = nn.Parameter(torch.full((6, 1, 1), 0.7))

    def body(self, x: Tensor) -> Tensor:
        inner = self.layer_norm(self.depthwise(x).permute(0, 2, 3, 1))
        inner = self.down(gelu(self.up(inner))).permute(0, 3, 1, 2)
        made: Tensor = x + self.layer_scale * inner
        return made


class Counted(Hidden):
    """The same block where the norm counts its filters, so that the stream grows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_norm = CountedLayerNorm(6)


class Shared(Net):
    """One layer, used twice."""

    def __init__(self) -> None:
        super().__init__(6)
        self.layer = conv(6, 6)

    def body(self, x: Tensor) -> Tensor:
        return relu(self.layer(relu(self.layer(x))))


class Headed(Net):
    """A second head that works in training only."""

    def __init__(self) -> None:
        super().__init__(4)
        self.layer = conv(6, 4)
        self.aside = conv(6, 3)
        self.second = nn.Linear(3, 5)

    def body(self, x: Tensor) -> Tensor:
        return relu(self.layer(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:  # type: ignore[override] # two
        x = relu(self.norm(self.stem(x)))
        second = self.second(relu(self.aside(x)).mean((2, 3))) if self.training else None
        return self.head(self.body(x).mean((2, 3))), second


class Padded(Net):
    """A padding shortcut of plain torch: the code says how many filters stand behind the others."""

    def __init__(self) -> None:
        super().__init__(10)
        self.layer = conv(6, 10)

    def body(self, x: Tensor) -> Tensor:
        return relu(self.layer(x) + pad(x, (0, 0, 0, 0, 0, 4)))


class Transposed(Net):
    """A transposed convolution, whose weight has its filters along the second axis."""

    def __init__(self) -> None:
        super().__init__(5)
        self.up = nn.ConvTranspose2d(6, 5, 2, stride=2)

    def body(self, x: Tensor) -> Tensor:
        return relu(self.up(x))


class Hourglass(Net):
    """A map is halved and doubled again, and read beside what it was."""

    def __init__(self) -> None:
        super().__init__(4)
        self.down = nn.Conv2d(6, 8, 2, stride=2)
        self.up = nn.ConvTranspose2d(8, 5, 2, stride=2)
        self.last = conv(11, 4)

    def body(self, x: Tensor) -> Tensor:
        small = silu(self.down(x))
        made: Tensor = relu(self.last(torch.cat((self.up(small), x), dim=1)))
        return made


@dataclass(frozen=True)
class Case:
    """A network and the widths of its groups."""

    build: Callable[[], nn.Module]
    widths: dict[str, int]
    blended: tuple[str, ...] = ()


CASES = {
    "residual": Case(Residual, {"stem": 6, "block.0": 4, "inner.0": 5, "inner.2": 8}),
    "dense": Case(Dense, {"stem": 6, "layers.0": 4, "layers.1": 3}),
    "flat": Case(Flat, {"stem": 6, "layers.1": 9, "layers.3": 7}),
    "depthwise": Case(Depthwise, {"stem": 6, "expand": 8, "project": 3}),
    "squeeze": Case(Squeeze, {"stem": 6, "squeeze.1": 3}),
    "scaled": Case(Scaled, {"stem": 6}),
    "shuffled": Case(Shuffled, {"stem": 6, "layer": 4, "last": 4}),
    "gated": Case(Gated, {"stem": 6, "layer": 4}),
    "dealt": Case(Dealt, {"stem": 6, "left": 4, "last": 8}),
    "grouped": Case(Grouped, {"stem": 6, "layer": 4}),
    "hidden": Case(Hidden, {"stem": 6, "up": 10}, blended=("stem",)),
    "counted": Case(Counted, {"stem": 6, "up": 10}),
    "shared": Case(Shared, {"stem": 6}),
    "headed": Case(Headed, {"stem": 6, "layer": 4, "aside": 3}),
    "padded": Case(Padded, {"stem": 6}),
    "hourglass": Case(Hourglass, {"stem": 6, "down": 8, "up": 5, "last": 4}),
    "transposed": Case(Transposed, {"stem": 6, "up": 5}),
}


def built(name: str, *, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a network of the zoo with uneven norms and a past."""
    torch.manual_seed(7)
    net = CASES[name].build().to(dtype)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
    net.train()
    for _ in range(2):
        net(images(dtype))
    return net.eval()


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    """Return a batch."""
    return torch.randn(4, *SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(1))


def logits(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what a network says, all heads."""
    said = net(x)
    return [said] if isinstance(said, Tensor) else [part for part in said if part is not None]


def widened(
    net: nn.Module, optimizer: OptimizerT, found: Found, widths: Widths, *, seed: int = 0
) -> tuple[nn.Module, OptimizerT, Found]:
    """Return the wider pair and what is found of it."""
    generator = torch.Generator().manual_seed(seed)
    return *widen(net, optimizer, widths, found=found, generator=generator), found.resized(widths)
