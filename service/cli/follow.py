"""A run followed to its end: a live bar on a terminal, a line an epoch in a file."""

import json
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from service.cli.output import console, duration, share, widths
from service.client.stream import Event
from service.contract import FINAL_STATES, EventType

_FINAL = frozenset(state.value for state in FINAL_STATES)
_PHASES: Mapping[str, str] = {state: state for state in _FINAL} | {
    EventType.CLAIMED: "running",
    EventType.PAUSED: "paused",
    EventType.RESUMED: "resumed",
    EventType.RETRIED: "queued",
    EventType.REQUEUED: "queued",
}
"""What a live bar says after an event, until the next epoch has ended."""

_SENTENCES: Mapping[str, str] = {
    EventType.CANCEL_REQUESTED: "cancel requested",
    EventType.PAUSE_REQUESTED: "pause requested",
    EventType.RESUMED: "resumed",
    EventType.RETRIED: "retried: queued again",
    EventType.SUCCEEDED: "succeeded",
    EventType.CANCELLED: "cancelled",
}
"""What people are told of events whose data adds nothing."""

_WANTS_ROOM = "it goes on when there is room on the disk, or with"

_COUNTED: Mapping[str, str] = {"visualise": "picture", "export": "file"}
"""What is counted in a phase in which nothing is trained."""
_TOLD: Mapping[str, str] = {
    "prune": "tune",
    "random": "rival: random",
    "dense": "rival: dense",
    "visualise": "draw",
}
"""What people are told of a phase that its name would not say. Source: slbi/structure/path.py."""

_BAR = 20  # columns: on a terminal of 80 it leaves room for all that stands beside it


class Screen:
    """Shows what happens to a run. Between `with` and its end a terminal has a live bar.

    Args:
        waiting: What the run is said to be doing until its first epoch has ended.
        target: Where; the standard output unless told otherwise.
    """

    def __init__(self, waiting: str, target: Console | None = None) -> None:
        self.console = target or console()
        self._progress = Progress(
            TextColumn("{task.fields[phase]}"),
            BarColumn(bar_width=_BAR),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(overflow="fold")),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=None, phase=waiting, text="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, kind: str, data: Mapping[str, Any]) -> None:
        """Show one event, if people are told of its kind.

        Args:
            kind: See `service.contract.EventType`; others are passed over.
            data: What the event says.
        """
        if kind == EventType.PROGRESS and self.console.is_terminal:
            self._progress.update(
                self._bar,
                completed=data["epoch"],
                total=data["epochs"],
                phase=_phase(data),
                text=f"{_standing(data)}\nwidths {widths(data['widths'])}",
            )
            return
        if phase := _PHASES.get(kind):
            self._progress.update(self._bar, phase=phase)
        if (text := told(kind, data)) and not (self.console.is_terminal and text == kind):
            self.console.print(text, markup=False)


def follow_as_json(events: Iterable[Event]) -> str:
    """Print each event as one line of JSON and return the state in which the job ended."""
    last = ""
    for event in events:
        print(json.dumps({"id": event.id, "type": event.type, "data": event.data}), flush=True)
        last = event.type
    return last if last in _FINAL else ""


def follow(events: Iterable[Event], job_id: str) -> str:
    """Show round, widths, accuracy and time left as they change, and return the final state.

    A job that is paused is not at its end, nor is one that failed and was retried: who follows it
    is told and goes on.
    """
    last = ""
    with Screen("queued") as screen:
        for event in events:
            screen.show(event.type, event.data)
            if event.type == EventType.PAUSED:
                how = "to have it go on" if not event.data.get("reason") else _WANTS_ROOM
                screen.console.print(f"{how}: slbi resume {job_id}", markup=False)
            last = event.type
    return last if last in _FINAL else ""


def progress_line(data: Mapping[str, Any]) -> str:
    """Return where a job stands: epochs, accuracy, time left, widths."""
    return f"{_standing(data)}  widths {widths(data['widths'])}"


def told(kind: str, data: Mapping[str, Any]) -> str:
    """Return what people are told of an event, nothing for those that only machines need."""
    match kind:
        case EventType.PROGRESS:
            text = f"{_phase(data)}  {progress_line(data)}"
        case EventType.GREW:
            rows = (f"{row['layer']} {row['before']}→{row['after']}" for row in data["layers"])
            text = f"round {data['round']} widened {', '.join(rows)}"
        case EventType.FILE:
            text = f"file {data['title']}"
        case EventType.CLAIMED:
            text = f"running on {data.get('host', 'a worker')}"
        case EventType.RESTORED:
            text = _restored(data)
        case EventType.REQUEUED:
            text = f"queued again: {data.get('reason', 'its worker was lost')}"
        case EventType.PAUSED:
            text = f"paused: {data['reason']}" if data.get("reason") else "paused"
        case EventType.FAILED:
            text = f"failed: {data.get('reason', 'no reason was recorded')}"
        case _:
            text = _SENTENCES.get(kind, "")
    return text


def _restored(data: Mapping[str, Any]) -> str:
    if data["step"]:
        text = f"going on from step {data['step']}, after epoch {data['epoch']}"
    else:
        text = "beginning anew"
    if data["damaged"]:
        steps = ", ".join(str(step) for step in data["damaged"])
        text += f"; damaged checkpoints were skipped: step {steps}"
    return text


def _standing(data: Mapping[str, Any]) -> str:
    if counted := _COUNTED.get(data["phase"]):  # of which none has an accuracy
        done = f"{counted} {data['epoch']}/{data['epochs']}"
        return f"{done}  left {duration(data['eta_seconds'])}"
    return "  ".join(
        (
            f"epoch {data['epoch']}/{data['epochs']}",
            f"accuracy {share(data['validation_accuracy'])}",
            f"left {duration(data['eta_seconds'])}",
        )
    )


def _phase(data: Mapping[str, Any]) -> str:
    phase = str(data["phase"])
    return f"round {data['round']}" if phase == "grow" else _TOLD.get(phase, phase)
