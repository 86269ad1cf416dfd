"""The members of a run's family: written as they come about, tested together at the end."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.pruning.recalibrate import recalibrate
from slbi.pruning.slice import slice_filters
from worker.training.checkpoint import Description, load, save
from worker.training.count import latency
from worker.training.data.batches import evaluation_batches
from worker.training.device import convolutions
from worker.training.epoch import evaluate
from worker.training.files import Mark, unmarked
from worker.training.recipes.run import Cut, Run, Support
from worker.training.recorder import ModelKind, ModelRecord, TestRecord

MEASURED = 8192
"""Images that a network's norms are measured on at most: they settle a mean to about 1 percent."""

TESTED = "tested"
"""Note of a run: what its members of earlier data sets reached on their test images."""

_TURNS = 15  # of measuring a member's latency: its median is steady to a few percent

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

    def add(
        self,
        run: Run,
        net: Backbone,
        kind: ModelKind,
        origin: str,
        accuracy: float,
        *,
        kept: Support | None = None,
        ms: float | None = None,
    ) -> None:
        """Write a member's checkpoint, then report it.

        Args:
            run: as it stands.
            net: the member.
            kind: how it came about.
            origin: what it is, for people.
            accuracy: on the validation split, 0 to 1.
            kept: which filters of the network that the path follows it has; None is all.
            ms: its latency, if that was measured already.
        """
        written = None
        if run.team.leads:
            written = self._written(run, net, kind, origin, accuracy=accuracy, kept=kept, ms=ms)
        record = run.team.told(written)
        if record is None:
            raise TypeError("a leader must tell what it has written")
        run.members.append(record)
        run.recorder.model(record)

    def _written(
        self,
        run: Run,
        net: Backbone,
        kind: ModelKind,
        origin: str,
        *,
        accuracy: float,
        kept: Support | None,
        ms: float | None,
    ) -> ModelRecord:
        """Write a member's checkpoint and return what there is to tell of it."""
        params, macs = net.cost()
        elapsed_ms = latency(net, run.compute, turns=_TURNS).ms if ms is None else ms
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
            stem=net.stem,
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
            entry=run.entries(kept),
        )
        save(path, net, description, mark=self.mark)
        return ModelRecord(
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
            dataset=run.data.name if run.transferred else None,
        )

    def settled(self, run: Run, images: int | None = None) -> Backbone:
        """Return a copy of the run's network with its norms measured anew, on `images` at most.

        In the middle of training the running statistics lag behind the weights, by so much in a
        short epoch that they hide how good the network is. The passes count as training.
        """
        return self.cut(run, everywhere(run.net), images).net

    def sliced(self, run: Run, support: Support, *, bias: bool = True) -> Cut:
        """Return the run's network without its unselected filters; a group keeps one at least.

        Args:
            run: as it stands.
            support: group -> (O,) bool, what stays; a group over which a norm takes a statistic
                stays whole.
            bias: the bias of a filter goes with it; else its readers take up what it emits.
        """
        kept_whole = {group.name for group in run.net.coupling().groups if group.blended}
        losing = {group: stays for group, stays in support.items() if group not in kept_whole}
        cut = slice_filters(run.net, None, losing, bias=bias)
        run.compute.place(cut.net)
        kept = {
            group: torch.zeros(width, dtype=torch.bool).index_fill(0, cut.kept[group].cpu(), 1)
            for group, width in run.net.widths.items()
        }
        return Cut(net=cut.net, kept=kept)

    def cut(self, run: Run, support: Support, images: int | None = None) -> Cut:
        """Return what `sliced` does, its norms measured anew. The passes count as training.

        Args:
            run: as it stands.
            support: group -> (O,) bool, what stays.
            images: on which they are measured at most; None: as many as `measured` says.
        """
        cut = self.sliced(run, support)
        net = cut.net
        part = run.data.train
        count = measured(len(part) if images is None else min(images, len(part)))
        rows = torch.randperm(len(part), generator=run.draws["recalibrate"])[:count].to(
            run.compute.device
        )
        batches = evaluation_batches(part.rows(rows), run.data.normalisation, _BATCH)
        arranged = (run.compute.arrange(batch) for batch, _ in batches)
        with convolutions(net, run.compute), run.compute.autocast():
            recalibrate(net, arranged)
        run.training_macs += net.cost()[1] * count
        return cut


def everywhere(net: Backbone) -> dict[str, Tensor]:
    """Return a mask that keeps every filter of every group."""
    return {group: torch.ones(width, dtype=torch.bool) for group, width in net.widths.items()}


def on_test_split(run: Run) -> tuple[TestRecord, ...]:
    """Return the accuracy of the members on the test images, each from its checkpoint.

    Those of the data set that the run is at are tested; what others were tested on before stands in
    the run's notes.
    """
    part = run.data.test.read().to(run.compute.device)
    earlier = run.notes.get(TESTED, [])
    results = [TestRecord(**told) for told in earlier]
    for index, member in enumerate(run.members[len(earlier) :], len(earlier)):
        net, _ = load(member.checkpoint)
        run.compute.place(net)
        batches = evaluation_batches(part, run.data.normalisation, share=run.team.share)
        outcome = evaluate(net, batches, run.compute, run.team)
        results.append(TestRecord(model=index, accuracy=outcome.accuracy))
    return tuple(results)


def leave_data(run: Run) -> None:
    """Test the members before the run goes over to another data set, in place of its notes."""
    run.notes[TESTED] = [asdict(result) for result in on_test_split(run)]
