"""Random edits of random networks: nothing crashes, nothing changes that must not.

A thousand sequences in all: 25 on each of 40 networks.
"""

import copy
import io
import random
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, max_pool2d, relu, silu
from torch.optim import Optimizer

from slbi.nets.counted import CountedLayerNorm
from slbi.nets.graph.find import Found, find
from slbi.nets.graph.resize import rebuilt
from slbi.nets.widths import Widths
from slbi.pruning.mask import masked
from slbi.pruning.slice import slice_filters
from tests import zoo

BLOCKS = (
    "plain",
    "residual",
    "project",
    "dense",
    "depthwise",
    "grouped",
    "squeeze",
    "gate",
    "next",
    "groupnorm",
    "pool",
)

NETWORKS = 40
SEQUENCES = 25
"""Of edits, on each network."""


class Random(nn.Module):
    """A stem and random blocks, then a flatten or the mean, and one or two linear layers."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        drawn = random.Random(seed)  # noqa: S311 -- a test
        self.kinds: list[str] = []
        self.blocks = nn.ModuleList()
        width = drawn.randint(2, 6)
        self.stem = zoo.conv(3, width, bias=drawn.random() < 0.5)
        side = 8
        for _ in range(drawn.randint(2, 5)):
            kind = drawn.choice(BLOCKS if side > 2 else BLOCKS[:-1])
            block, width = _block(kind, width, drawn)
            side //= 1 + (kind == "pool")
            self.kinds.append(kind)
            self.blocks.append(block)
        self.flat = drawn.random() < 0.4
        reads = width * side * side if self.flat else width
        hidden = drawn.randint(2, 7)
        self.head = nn.Sequential(nn.Linear(reads, hidden), nn.ReLU(), nn.Linear(hidden, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for kind, block in zip(self.kinds, self.blocks, strict=True):
            x = _run(kind, block, x)
        logits: Tensor = self.head(x.flatten(1) if self.flat else x.mean((2, 3)))
        return logits


def _block(  # noqa: C901, PLR0911 -- one a kind
    kind: str, width: int, drawn: random.Random
) -> tuple[nn.Module, int]:
    """Return a block and the filters it makes of `width`."""
    inner = drawn.randint(2, 6)
    normed = nn.Sequential(zoo.conv(width, inner), nn.BatchNorm2d(inner), nn.ReLU())
    match kind:
        case "plain":
            return normed, inner
        case "residual":
            return nn.Sequential(normed, zoo.conv(inner, width), nn.BatchNorm2d(width)), width
        case "project":
            made = drawn.randint(2, 6)
            return nn.ModuleList([normed, zoo.conv(inner, made), zoo.conv(width, made, 1)]), made
        case "dense":
            return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), zoo.conv(width, inner)), (
                width + inner
            )
        case "depthwise":
            twice = zoo.conv(inner, 2 * inner, groups=inner)
            return nn.Sequential(normed, twice, nn.BatchNorm2d(2 * inner), nn.SiLU()), 2 * inner
        case "grouped":
            wide = zoo.conv(width, 4 * inner, 1)
            return nn.Sequential(wide, zoo.conv(4 * inner, 6 * inner, groups=2 * inner)), 6 * inner
        case "squeeze":
            return (
                nn.Sequential(
                    nn.AdaptiveAvgPool2d(1), zoo.conv(width, inner, 1, bias=True), nn.ReLU(),
                    zoo.conv(inner, width, 1, bias=True), nn.Sigmoid(),
                ),
                width,
            )  # fmt: skip
        case "gate":
            return zoo.conv(width, 2 * inner, bias=True), inner
        case "next":
            return _Next(width, inner), width
        case "groupnorm":
            return nn.Sequential(zoo.conv(width, 2 * inner), nn.GroupNorm(inner, 2 * inner)), (
                2 * inner
            )
        case _:
            return nn.Identity(), width


class _Next(nn.Module):
    """A block of a ConvNeXt between norms over the stream, one in front of the map, one behind."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.first = CountedLayerNorm(width, axis=-3)
        self.depthwise = zoo.conv(width, width, groups=width, bias=True)
        self.norm = CountedLayerNorm(width)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.7))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        made: Tensor = x + self.scale * self.down(gelu(self.up(inner))).permute(0, 3, 1, 2)
        return made


def _run(
    kind: str,
    block: Any,  # noqa: ANN401 -- a module of its kind
    x: Tensor,
) -> Tensor:
    match kind:
        case "residual":
            x = relu(x + block(x))
        case "project":
            x = relu(block[1](block[0](x)) + block[2](x))
        case "dense":
            x = torch.cat((x, block(x)), dim=1)
        case "squeeze":
            x = x * block(x)
        case "gate":
            value, gate = block(x).chunk(2, dim=1)
            x = value * silu(gate)
        case "pool":
            x = max_pool2d(x, 2)
        case _:
            x = block(x)
    return x


@cache
def _standard(seed: int) -> tuple[nn.Module, Found]:
    torch.manual_seed(seed)
    net = Random(seed).double()
    return net, find(net, zoo.SHAPE)


class _Editor:
    """One network and what happens to it."""

    def __init__(self, network: int, seed: int) -> None:
        self.standard = _standard(network)
        self.drawn = random.Random(seed)  # noqa: S311 -- a test
        self.generator = torch.Generator().manual_seed(seed)
        self.net: nn.Module = copy.deepcopy(self.standard[0])
        self.optimizer: Optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3)
        self.found: Found = self.standard[1]

    def train(self) -> None:
        self.net.train()
        self.optimizer.zero_grad()
        labels = torch.arange(4)
        cross_entropy(self.net(zoo.images()), labels).backward()  # type: ignore[no-untyped-call] # torch's own
        self.optimizer.step()

    def widen(self) -> None:
        before = self.logits()
        self._take(self._wider())
        torch.testing.assert_close(self.logits(), before, rtol=1e-11, atol=1e-12)

    def there_and_back(self) -> None:
        """Widen and slice the new filters away: the pair is what it was, bit for bit."""
        net, optimizer, found = self._wider()
        keep = {
            group: torch.arange(width) < self.found.widths[group]
            for group, width in found.widths.items()
        }
        back = slice_filters(net, optimizer, keep, found=found)
        assert back.found == self.found
        assert _equal(back.net.state_dict(), self.net.state_dict())
        assert _equal(back.optimizer.state_dict(), self.optimizer.state_dict())
        self._take((back.net, back.optimizer, back.found))

    def slice(self) -> None:
        keep = {}
        for group, width in self.found.widths.items():
            keep[group] = torch.rand(width, generator=self.generator) > 0.3
            keep[group][self.drawn.randrange(width)] = True
        self.net.eval()
        with torch.no_grad():
            silent = masked(self.net, keep, found=self.found, silent=True)(zoo.images())
        sliced = slice_filters(self.net, self.optimizer, keep, found=self.found)
        self._take((sliced.net, sliced.optimizer, sliced.found))
        torch.testing.assert_close(self.logits(), silent, rtol=1e-11, atol=1e-12)

    def reload(self) -> None:
        file = io.BytesIO()
        torch.save(self.net.state_dict(), file)
        file.seek(0)
        again, found = rebuilt(*self.standard, self.found.widths)
        again.load_state_dict(torch.load(file, weights_only=True))
        assert found == self.found
        with torch.no_grad():
            assert torch.equal(again.eval()(zoo.images()), self.logits())

    def logits(self) -> Tensor:
        with torch.no_grad():
            said: Tensor = self.net.eval()(zoo.images())
        return said

    def _wider(self) -> tuple[nn.Module, Optimizer, Found]:
        widths = {g: w + self.drawn.choice([0, 0, 1, 3]) for g, w in self.found.widths.items()}
        seed = self.drawn.randrange(2**31)
        return zoo.widened(self.net, self.optimizer, self.found, Widths(widths), seed=seed)

    def _take(self, edited: tuple[nn.Module, Optimizer, Found]) -> None:
        self.net, self.optimizer, self.found = edited


def _equal(one: Any, other: Any) -> bool:  # noqa: ANN401 -- a state, however deep
    """Tell whether two states are equal bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return bool(one == other)


@pytest.mark.parametrize("network", range(NETWORKS))
def test_random_edits_keep_what_they_must(network: int) -> None:
    for sequence in range(SEQUENCES):
        torch.manual_seed(sequence)
        editor = _Editor(network, NETWORKS * sequence + network)
        edits = [editor.train, editor.widen, editor.slice, editor.reload, editor.there_and_back]
        for _ in range(5):
            editor.drawn.choice(edits)()
        editor.train()
        assert len(editor.optimizer.state) == len(list(editor.net.parameters()))
        # A width of 1 leaves open what an axis of one entry is; the coupling that is kept knows.
        if sequence % 5 == 0 and min(editor.found.widths.values()) > 1:
            assert find(editor.net, zoo.SHAPE) == editor.found


def test_the_networks_differ_and_every_block_is_among_them() -> None:
    nets = [Random(seed) for seed in range(NETWORKS)]
    assert {kind for net in nets for kind in net.kinds} == set(BLOCKS)
    assert len({tuple(net.kinds) for net in nets}) > NETWORKS // 2
