"""The members of a run's family: written as they come about, tested together at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slbi.nets.backbone import Backbone
from slbi.pruning.recalibrate import recalibrate
from slbi.pruning.slice import slice_filters
from worker.training.checkpoint import Description, load, save
from worker.training.count import latency_ms
from worker.training.data.batches import evaluation_batches
from worker.training.data.formats import Part
from worker.training.data.load import Data
from worker.training.device import Compute, convolutions
from worker.training.epoch import evaluate
from worker.training.files import Mark, unmarked
from worker.training.recipes.run import Cut, Run, Support
from worker.training.recorder import ModelKind, ModelRecord, TestRecord

MEASURED = 8192
"""Images that a network's norms are measured on at most: they settle a mean to about 1 percent."""

_BATCH = 128  # of these images; BatchNorm's statistics are cumulative means over such batches


def measured(images: int) -> int:
    """Return on how many of the images to learn from a network's norms are measured.

    In whole batches, or all images if they do not fill one: a small last batch would count as much
    as the others, and BatchNorm refuses a batch of one.
    """
    count = min(MEASURED, images)
    return count if count < _BATCH else count - count % _BATCH


@dataclass(frozen=True, kw_only=True)
class Family:
    """Writes members."""

    output: Path
    """Folder of the checkpoints."""
    config: dict[str, Any]
    """The whole config, for the checkpoints."""
    mark: Mark = unmarked
    """Called around each step of writing a file."""

    def add(self, run: Run, net: Backbone, kind: ModelKind, origin: str, accuracy: float) -> None:
        """Write a member's checkpoint, then report it.

        Args:
            run: as it stands.
            net: the member.
            kind: how it came about.
            origin: what it is, for people.
            accuracy: on the validation split, 0 to 1.
        """
        params, macs = net.cost()
        elapsed_ms = latency_ms(net, run.compute)
        path = self.output / f"{len(run.members):03d}-{kind}.safetensors"
        metrics = {
            "validation_accuracy": accuracy,
            "params": params,
            "macs": macs,
            "latency_ms": elapsed_ms,
            "threads": torch.get_num_threads(),
        }
        description = Description(
            backbone=net.name,
            widths=dict(net.widths),
            in_channels=net.in_channels,
            size=net.size,
            classes=net.classes,
            class_names=run.data.train.classes,
            dataset=run.data.name,
            normalisation=run.data.normalisation,
            kind=kind,
            origin=origin,
            step=run.step,
            metrics=metrics,
            config=self.config,
        )
        save(path, net, description, mark=self.mark)
        record = ModelRecord(
            step=run.step,
            round=run.round,
            kind=kind,
            origin=origin,
            widths=dict(net.widths),
            params=params,
            macs=macs,
            validation_accuracy=accuracy,
            latency_ms=elapsed_ms,
            checkpoint=path,
        )
        run.members.append(record)
        run.recorder.model(record)

    def settled(self, run: Run) -> Backbone:
        """Return a copy of the run's network with its norms measured anew.

        In the middle of training the running statistics lag behind the weights, by so much in a
        short epoch that they hide how good the network is. The passes count as training.
        """
        everything = {
            group: torch.ones(width, dtype=torch.bool) for group, width in run.net.widths.items()
        }
        return self.cut(run, everything).net

    def cut(self, run: Run, support: Support) -> Cut:
        """Return the run's network without its unselected filters, its norms measured anew.

        A group keeps one filter at least. The passes count as training.
        """
        cut = slice_filters(run.net, None, support)
        net = cut.net
        run.compute.place(net)
        part = run.data.train
        count = run.budget.measured
        rows = torch.randperm(len(part), generator=run.draws["recalibrate"])[:count].to(
            part.labels.device
        )
        batches = evaluation_batches(part.rows(rows), run.data.normalisation, _BATCH)
        images = (run.compute.arrange(images) for images, _ in batches)
        with convolutions(net, run.compute), run.compute.autocast():
            recalibrate(net, images)
        run.training_macs += net.cost()[1] * count
        kept = {
            group: torch.zeros(width, dtype=torch.bool).index_fill(0, cut.kept[group].cpu(), 1)
            for group, width in run.net.widths.items()
        }
        return Cut(net=net, kept=kept)


def on_test_split(
    members: Sequence[ModelRecord], part: Part, data: Data, compute: Compute
) -> tuple[TestRecord, ...]:
    """Return the accuracy of every member on the test images, each from its checkpoint."""
    part = part.to(compute.device)
    results = []
    for index, member in enumerate(members):
        net, _ = load(member.checkpoint)
        compute.place(net)
        outcome = evaluate(net, evaluation_batches(part, data.normalisation), compute)
        results.append(TestRecord(model=index, accuracy=outcome.accuracy))
    return tuple(results)
