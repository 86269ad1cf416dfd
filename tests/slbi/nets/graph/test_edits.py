"""Random edits of random networks: nothing crashes, nothing changes that must not."""

import io
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d, relu, silu
from torch.optim import Optimizer

from slbi.growth.widen import widen
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
    "pool",
)


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


def _block(  # noqa: PLR0911 -- one a kind
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
        case _:
            return nn.Identity(), width


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


class _Editor:
    """One network and what happens to it."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.seed = seed
        self.drawn = random.Random(seed)  # noqa: S311 -- a test
        self.generator = torch.Generator().manual_seed(seed)
        self.net: nn.Module = Random(seed).double()
        self.optimizer: Optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3)
        self.found: Found = find(self.net, zoo.SHAPE)

    def train(self) -> None:
        self.net.train()
        self.optimizer.zero_grad()
        labels = torch.arange(4)
        cross_entropy(self.net(zoo.images()), labels).backward()  # type: ignore[no-untyped-call] # torch's own
        self.optimizer.step()

    def widen(self) -> None:
        widths = {g: w + self.drawn.choice([0, 0, 1, 3]) for g, w in self.found.widths.items()}
        before = self.logits()
        self.net, self.optimizer = widen(
            self.net, self.optimizer, Widths(widths), found=self.found, generator=self.generator
        )
        self.found = self.found.resized(Widths(widths))
        torch.testing.assert_close(self.logits(), before, rtol=1e-11, atol=1e-12)

    def slice(self) -> None:
        keep = {}
        for group, width in self.found.widths.items():
            keep[group] = torch.rand(width, generator=self.generator) > 0.3
            keep[group][self.drawn.randrange(width)] = True
        self.net.eval()
        silent = masked(self.net, keep, found=self.found, silent=True)(zoo.images())
        sliced = slice_filters(self.net, self.optimizer, keep, found=self.found)
        self.net, self.optimizer, self.found = sliced.net, sliced.optimizer, sliced.found
        torch.testing.assert_close(self.logits(), silent, rtol=1e-11, atol=1e-12)

    def reload(self) -> None:
        file = io.BytesIO()
        torch.save(self.net.state_dict(), file)
        file.seek(0)
        fresh = Random(self.seed).double()
        again, found = rebuilt(fresh, find(fresh, zoo.SHAPE), self.found.widths)
        again.load_state_dict(torch.load(file, weights_only=True))
        assert found == self.found
        before = self.logits()
        assert torch.equal(again.eval()(zoo.images()), before)

    def logits(self) -> Tensor:
        with torch.no_grad():
            said: Tensor = self.net.eval()(zoo.images())
        return said


def _edit(seed: int) -> None:
    editor = _Editor(seed)
    edits = [editor.train, editor.widen, editor.slice, editor.reload]
    for _ in range(6):
        editor.drawn.choice(edits)()
    editor.train()
    assert len(editor.optimizer.state) == len(list(editor.net.parameters()))
    # A width of 1 leaves open what an axis of one entry is; the coupling that is kept knows.
    if min(editor.found.widths.values()) > 1:
        assert find(editor.net, zoo.SHAPE) == editor.found


@pytest.mark.parametrize("seed", range(30))
def test_random_edits_keep_what_they_must(seed: int) -> None:
    _edit(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 300, 50))
def test_two_hundred_more_random_edits_keep_what_they_must(first: int) -> None:
    for seed in range(first, first + 50):
        _edit(seed)
