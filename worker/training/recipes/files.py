"""What a run leaves beside its models: entry orders, masks, tables. Each file whole or absent."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save as serialise
from torch import Tensor

from worker.training.files import Mark, unmarked, write_whole
from worker.training.recipes.run import Run
from worker.training.recorder import FileFormat, FileKind, FileRecord, RunRecorder

ORDER, MASK = "order.safetensors", "mask.safetensors"
"""Titles of the files that hold a tensor for every layer."""


def add_file(
    recorder: RunRecorder,
    output: Path,
    title: str,
    content: bytes,
    *,
    kind: FileKind,
    form: FileFormat,
    step: int,
    mark: Mark = unmarked,
) -> None:
    """Write a file of a run, then report it.

    Args:
        recorder: takes the record.
        output: folder of the files.
        title: its name within the run.
        content: all of it.
        kind: what it is.
        form: its format, in which `title` ends.
        step: of the run.
        mark: called around each step of writing it.

    Raises:
        NoSpaceError: there is no room for it.
    """
    path = output / f"{step:09d}-{title}"
    write_whole(path, content, flow="attach", mark=mark)
    recorder.file(FileRecord(title=title, kind=kind, format=form, step=step, path=path))


def add_order(run: Run, output: Path, *, mark: Mark = unmarked) -> None:
    """Write the entry order of every layer, epochs from 0 as int32, -1 for never."""
    if not run.team.leads:
        return
    entries = {name: entry.to(torch.int32) for name, entry in run.order.state_dict().items()}
    add_file(
        run.recorder, output, ORDER, serialise(entries),
        kind="order", form="safetensors", step=run.step, mark=mark,
    )  # fmt: skip


def add_masks(
    run: Run, output: Path, masks: Mapping[str, Tensor], *, mark: Mark = unmarked
) -> None:
    """Write what may differ from zero of every masked parameter, bool."""
    if not run.team.leads:
        return
    tensors = {name: tensor.cpu().contiguous() for name, tensor in masks.items()}
    add_file(
        run.recorder, output, MASK, serialise(tensors),
        kind="mask", form="safetensors", step=run.step, mark=mark,
    )  # fmt: skip


def add_table(
    run: Run,
    output: Path,
    title: str,
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    mark: Mark = unmarked,
) -> None:
    """Write a table as CSV."""
    if not run.team.leads:
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(rows)
    add_file(
        run.recorder, output, title, text.getvalue().encode(),
        kind="table", form="csv", step=run.step, mark=mark,
    )  # fmt: skip
