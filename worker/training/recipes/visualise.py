"""The recipe `visualise`: pictures of a finished network, and of how it came about."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn

from slbi.nets.backbone import Backbone
from slbi.pictures.activation import maximise
from slbi.pictures.layers import find_weight
from slbi.pictures.weights import weight_images
from slbi.structure.path import LayerRecord, PathList, StepRecord, unpack
from worker.training.data.normalise import Normalisation
from worker.training.device import Compute, convolutions, generator, resolve, threads
from worker.training.epoch import Stopped
from worker.training.pictures.epochs import support_over_epochs
from worker.training.pictures.filters import filter_grid
from worker.training.pictures.order import entry_order, first_epochs
from worker.training.pictures.shares import kept_at, kept_shares
from worker.training.plans import PICTURES, VisualiseConfig
from worker.training.recipes.conduct import Surroundings, workplace
from worker.training.recipes.files import add_file
from worker.training.recipes.result import Result
from worker.training.recipes.source import own_network, start_from
from worker.training.recorder import ProgressRecord

_TWINNED = frozenset({"grow", "tune", "train"})
"""Phases in which Gamma lives; behind them a support is what a mask or a slice left."""

_OF_FILTERS, _OF_PATH = PICTURES[:2], PICTURES[2:]

_UNITS = {"filter": "filters", "element": "weights"}
"""What a layer of each structure counts."""

Painter = Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class _Sitter:
    """The network that is drawn."""

    net: Backbone
    normalisation: Normalisation
    accuracy: float
    """On the validation split, 0 to 1, as its checkpoint says."""
    path: PathList
    compute: Compute
    dead: dict[str, list[int]] = field(default_factory=dict)
    """Layer -> filters that no image made respond."""


def visualise(config: VisualiseConfig, around: Surroundings) -> Result:
    """Draw a finished network, one file a picture. An attempt that is lost draws all of it again.

    Raises:
        CheckpointError: the file is no network of the backbone.
        ValueError: there is no such layer, or pictures are asked for that the source cannot give.
        NoSpaceError: there is no room for a file.
        Stopped: `stop` said so.
    """
    begun = around.clock()
    compute = resolve(config.compute)
    with threads(config.compute.threads):
        sitter = _sitter(config, around, compute)
        pictures = list(_pictures(config, sitter))
        around.output.mkdir(parents=True, exist_ok=True)
        for index, (title, paint) in enumerate(pictures, 1):
            if around.stop():
                raise Stopped
            add_file(
                around.recorder, around.output, title, paint(),
                kind="picture", form="png", step=0, mark=around.mark,
            )  # fmt: skip
            elapsed_s = around.clock() - begun
            around.recorder.progress(
                ProgressRecord(
                    epoch=index,
                    epochs=len(pictures),
                    round=0,
                    phase="visualise",
                    validation_accuracy=sitter.accuracy,
                    widths=dict(sitter.net.widths),
                    eta_seconds=elapsed_s / index * (len(pictures) - index),
                )
            )
    titles = [title for title, _ in pictures]
    around.recorder.findings({"pictures": titles, "dead_filters": sitter.dead})
    return Result(
        end="",
        members=(),
        tests=(),
        epochs=0,
        steps=0,
        training_macs=0,
        seconds=around.clock() - begun,
    )


def _sitter(config: VisualiseConfig, around: Surroundings, compute: Compute) -> _Sitter:
    source = config.source
    accuracy = 0.0
    own = own_network(source, config.backbone)
    if own is not None:
        net, about = own
        normalisation = about.normalisation
        accuracy = about.metrics["validation_accuracy"]
    else:
        place = workplace(around, data=config.data, compute=config.compute, batch=2, begun=0.0)
        draw = generator(place.seed, "weights")
        started = start_from(source, config.backbone, place.data, stem=config.stem, generator=draw)
        net = started.net
        normalisation = place.data.normalisation
    compute.place(net)
    path = source.path or PathList()
    return _Sitter(
        net=net, normalisation=normalisation, accuracy=accuracy, path=path, compute=compute
    )


def _pictures(config: VisualiseConfig, sitter: _Sitter) -> Iterator[tuple[str, Painter]]:
    """Yield the title of every picture and what paints it."""
    shown = config.pictures.show or PICTURES
    layers = dict.fromkeys(config.pictures.layers or _convolutions(sitter.net))
    for layer in layers:
        find_weight(sitter.net, layer)
        if "weights" in shown:
            yield f"{layer}-weights.png", _bound(_weights, config, sitter, layer)
        if "activation" in shown:
            yield f"{layer}-activation.png", _bound(_activation, config, sitter, layer)
    steps = [step for step in sitter.path.step_records if step.phase in _TWINNED]
    asked = [name for name in _OF_PATH if name in shown]
    structures = {layer.structure for layer in sitter.path.layer_records}
    given = [name for name in asked if steps and (name != "order" or "filter" in structures)]
    refused = [name for name in asked if name not in given]
    if config.pictures.show and refused:
        needed = "of filters" if steps else "of the run that made the network, with twins"
        raise ValueError(f"the picture {refused[0]!r} needs a path {needed}, there is none")
    unit = " and ".join(word for kind, word in _UNITS.items() if kind in structures)
    painters = {
        "kept": lambda: kept_shares(kept_at(sitter.path.layer_records, steps[-1]), unit=unit),
        "support": lambda: support_over_epochs(
            sitter.path.layer_records, sitter.path.step_records, sitter.path.growth_records
        ),
        "order": lambda: _order(sitter.path.layer_records, steps),
    }
    for name in given:
        yield f"{name}.png", painters[name]


def _bound(
    paint: Callable[[VisualiseConfig, _Sitter, str], bytes],
    config: VisualiseConfig,
    sitter: _Sitter,
    layer: str,
) -> Painter:
    return lambda: paint(config, sitter, layer)


def _weights(config: VisualiseConfig, sitter: _Sitter, layer: str) -> bytes:
    """Return the weights of a layer's filters."""
    weight = find_weight(sitter.net, layer)
    deep = weight.ndim == 4 and weight.shape[1] not in {1, 3}
    return filter_grid(
        weight_images(weight),
        layer=layer,
        selected=_selected(sitter, layer, len(weight)),
        limit=config.pictures.filters,
        note=f"Root mean square over {weight.shape[1]} input channels; zero is black."
        if deep
        else "Zero is the middle grey.",
    )


def _activation(config: VisualiseConfig, sitter: _Sitter, layer: str) -> bytes:
    """Return what raises a layer's filters most."""
    net, normalisation = sitter.net, sitter.normalisation
    count = min(len(find_weight(net, layer)), config.pictures.filters)
    with convolutions(net, sitter.compute):
        found = maximise(
            net,
            layer,
            shape=(net.in_channels, net.size, net.size),
            mean=normalisation.mean,
            deviation=normalisation.deviation,
            generator=generator(config.compute.seed, "picture"),
            filters=range(count),
            steps=config.pictures.steps,
            learning_rate=config.pictures.learning_rate,
        )
    dead = torch.tensor(found.filters)[found.dead].tolist()
    if dead:
        sitter.dead[layer] = dead
    total = len(find_weight(net, layer))
    selected = _selected(sitter, layer, total)
    return filter_grid(
        found.pictures,
        layer=layer,
        what="what raises each filter most",
        selected=None if selected is None else selected[:count],
        dead=found.dead,
        note=f"The first {count} of {total} filters." if count < total else "",
    )


def _selected(sitter: _Sitter, layer: str, count: int) -> list[bool] | None:
    """Return which filters of a layer were in the support when the network was last trained.

    None where the path does not tell, or is of a network with other filters.
    """
    group = _group_of(sitter.net, layer)
    records = [record for record in sitter.path.layer_records if record.name == group]
    if not records or records[0].structure != "filter":
        return None
    for step in reversed(sitter.path.step_records):
        if step.phase in _TWINNED:
            for support in step.support:
                if support.layer == records[0].index and support.n_filters == count:
                    return cast("list[bool]", unpack(support.bits, count).tolist())
    return None


def _group_of(net: Backbone, layer: str) -> str | None:
    """Return the group whose filters a layer makes."""
    for group in net.coupling().groups:
        if f"{layer}.weight" in group.tensors("producer"):
            return group.name
    return None


def _order(layers: Sequence[LayerRecord], steps: Sequence[StepRecord]) -> bytes:
    return entry_order(first_epochs(layers, steps))


def _convolutions(net: nn.Module) -> list[str]:
    return [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
