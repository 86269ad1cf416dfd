"""Trunks grown toward budgets on Fashion-MNIST, watched from widening to widening."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from bench.family.data import accuracy, images
from bench.family.networks import Standard
from bench.family.ours import OURS, at_random
from bench.family.task import Made, Task
from bench.family.trunk import Way, grown
from bench.health.births import WINDOW, Birth, Watch, shares
from bench.health.dead import layers
from bench.health.rows import BirthRow, MemberRow, TrunkRow, trunk_key
from slbi.nets.backbone import Backbone
from slbi.nets.count import count
from slbi.nets.graph.find import find
from worker.training.data.batches import evaluation_batches

DATASET = "fashion-mnist"
IMAGES = 6000
"""Training images: an epoch of 42 steps, so that a stage has about one."""

WAYS = {"pairs": OURS, "random": replace(OURS, widen=at_random)}
"""Name -> way. pairs is what growth toward targets does; under random nothing reads new filters at
first; else they are alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How far a backbone is grown, and with how much."""

    budgets: tuple[float, ...]
    """Shares of the standard network's multiply-accumulates."""
    compute: int
    """Training multiply-accumulates."""


SIZES = {
    "small-vgg": Size(budgets=(0.02, 0.05, 0.12, 0.25, 0.5), compute=250 * 10**9),
    "resnet20": Size(budgets=(0.02, 0.05, 0.12), compute=200 * 10**9),
}
"""Backbone -> about a minute of one core, and steps enough for a widening in the last stage."""


def key(way: str, backbone: str, seed: int) -> str:
    """Return the key of a row of `watched`."""
    compute = SIZES[backbone].compute
    return trunk_key(way, backbone, seed, dataset=DATASET, images=IMAGES, compute=compute)


def watched(way: str, backbone: str, seed: int) -> TrunkRow:
    """Grow a trunk, and return what its filters learned and which of its members' are dead."""
    began = time.process_time()
    data = images(DATASET, IMAGES)
    standard = Standard(backbone, data.channels, data.size, len(data.train.classes))
    size = SIZES[backbone]
    task = Task(
        standard=standard,
        data=data,
        images=IMAGES,
        budgets=size.budgets,
        compute=size.compute,
        seed=seed,
    )
    return row_of(task, way, WAYS[way], began)


def row_of(task: Task, name: str, way: Way, began: float) -> TrunkRow:
    """Return the row of a task that is grown by a way.

    Args:
        task: what is asked.
        name: of the way.
        way: to grow.
        began: seconds of this process when the work began.
    """
    epoch = len(task.data.train) // task.batch
    watch = Watch(epoch)
    outcome = grown(task, replace(way, widen=watch.around(way.widen)))
    return TrunkRow(
        way=name,
        backbone=task.standard.name,
        seed=task.seed,
        dataset=task.data.name,
        images=task.images,
        compute=task.compute,
        epoch=epoch,
        births=tuple(learned(birth) for birth in watch.births),
        members=tuple(_member(made, task) for made in outcome.members),
        cpu_seconds=round(time.process_time() - began, 1),
    )


def learned(birth: Birth) -> BirthRow:
    """Return the row of a birth; without a step there are no shares."""
    steps = len(birth.norms)
    best = first = mean = torch.zeros(0)
    if steps:
        norms = torch.stack(birth.norms)
        windows = shares(norms, birth.before, WINDOW)
        best, first = windows.amax(0), windows[0]
        mean = shares(norms, birth.before, steps)[0]
    return BirthRow(
        layer=birth.layer,
        round=birth.round,
        before=birth.before,
        after=birth.after,
        steps=steps,
        best=_rounded(best.tolist()),
        first=_rounded(first.tolist()),
        mean=_rounded(mean.tolist()),
    )


def _member(made: Made, task: Task) -> MemberRow:
    net, data = made.net, task.data
    found = net.found() if isinstance(net, Backbone) else find(net, task.standard.shape)
    whole = evaluation_batches(data.validation, data.normalisation)
    return MemberRow(
        budget=made.budget,
        macs=count(net, task.standard.shape)[1],
        validation=round(accuracy(net, data.validation, data), 4),
        layers=tuple(layers(net, found, (inputs for inputs, _ in whole))),
    )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)
