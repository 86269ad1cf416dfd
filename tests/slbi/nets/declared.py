"""Who shares filters in the small backbones, written down by hand from their papers."""

from collections.abc import Iterator
from itertools import pairwise

from slbi.nets.coupling import Coupling, FilterGroup, Route, Tie

NEUTRAL = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


def lenet() -> Coupling:
    """Return four groups, each read by the next layer alone."""
    layers = ("conv1", "conv2", "conv3", "fc1", "classifier")
    groups = (
        FilterGroup(
            name=made,
            kind="linear" if made == "fc1" else "conv",
            ties=(*_made(made, bias=True), _read(reader, f"{reader}.bias")),
        )
        for made, reader in pairwise(layers)
    )
    return Coupling(groups=tuple(groups))


def vgg(depth: int) -> Coupling:
    """Return one group a convolution, each read by the next layer alone."""
    cells = [f"features.conv{index}" for index in range(1, depth + 1)]
    readers = [_read(f"{cell}.conv", f"{cell}.norm.running_mean") for cell in cells[1:]]
    readers.append(_read("classifier", "classifier.bias"))
    groups = (
        FilterGroup(
            name=cell.removeprefix("features."),
            kind="conv",
            ties=(*_made(f"{cell}.conv"), *_normed(f"{cell}.norm"), reader),
        )
        for cell, reader in zip(cells, readers, strict=True)
    )
    return Coupling(groups=tuple(groups))


def resnet(blocks: int) -> Coupling:
    """Return the groups of three streams and their blocks, and the routes between the streams."""
    ties: dict[str, list[Tie]] = {}
    for stage, block, _ in _blocks(blocks):
        ties.setdefault(stage, [])
        ties[f"{stage}.{block}"] = []
    routes = []
    ties["stage1"] += (*_made("stem_conv"), *_normed("stem_norm"))
    for stage, block, before in _blocks(blocks):
        inner, path = f"{stage}.{block}", f"stages.{stage}.{block}"
        ties[before].append(_read(f"{path}.conv1", f"{path}.norm1.running_mean"))
        ties[inner] += (*_made(f"{path}.conv1"), *_normed(f"{path}.norm1"))
        ties[inner].append(_read(f"{path}.conv2", f"{path}.norm2.running_mean"))
        ties[stage] += (*_made(f"{path}.conv2"), *_normed(f"{path}.norm2"))
        if before != stage:
            routes.append(
                Route(
                    buffer=f"{path}.shortcut.source",
                    source=before,
                    target=stage,
                    absorber=f"{path}.norm2.bias",
                )
            )
    ties["stage3"].append(_read("classifier", "classifier.bias"))
    groups = (FilterGroup(name=g, kind="conv", ties=tuple(t)) for g, t in ties.items())
    return Coupling(groups=tuple(groups), routes=tuple(routes))


def _blocks(blocks: int) -> Iterator[tuple[str, str, str]]:
    before = "stage1"
    for stage in ("stage1", "stage2", "stage3"):
        for index in range(blocks):
            yield stage, f"block{index + 1}", before
            before = stage


def _made(module: str, *, bias: bool = False) -> tuple[Tie, ...]:
    names = ("weight", "bias") if bias else ("weight",)
    return tuple(Tie(tensor=f"{module}.{name}", axis=0, role="producer") for name in names)


def _normed(module: str) -> tuple[Tie, ...]:
    return tuple(
        Tie(tensor=f"{module}.{name}", axis=0, role="norm", fill=fill)
        for name, fill in NEUTRAL.items()
    )


def _read(module: str, absorber: str) -> Tie:
    return Tie(tensor=f"{module}.weight", axis=1, role="reader", absorber=absorber)
