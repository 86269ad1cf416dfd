"""What the processes of a run and the one that launched them tell each other.

The recorder, the ledger, the wish to stop and the clock stay with the launcher. The leader calls
them over a pipe and waits for each answer, so that a call that fails there ends the run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord
from worker.training.keeper import Entry, Keeper
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.result import Result
from worker.training.recorder import FileRecord, ModelRecord, ProgressRecord, TestRecord

_RECORDS = ("layers", "step", "growth", "progress", "model", "tested", "file", "findings")
"""What a recorder can be told."""


@dataclass(frozen=True, slots=True)
class Call:
    """The leader asks for something of the launcher's surroundings."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """A run has come to its end."""

    result: Result


@dataclass(frozen=True, slots=True)
class Failed:
    """A process of a run has failed in a way that its caller can answer."""

    error: BaseException


def callable_from_leader(around: Surroundings) -> Mapping[str, Callable[..., Any]]:
    """Return what the leader may call, by name."""
    calls: dict[str, Callable[..., Any]] = {
        name: getattr(around.recorder, name) for name in _RECORDS
    }
    calls |= {"stop": around.stop, "clock": around.clock, "mark": around.mark}
    if around.keeper is not None:
        calls["enter"] = around.keeper.ledger.enter
    return calls


class Mute:
    """A recorder that keeps nothing, of the processes that do not lead."""

    def layers(self, layers: Sequence[LayerRecord]) -> None:
        """Keep nothing, as every method here."""

    def step(self, step: StepRecord) -> None:
        """See `layers`."""

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        """See `layers`."""

    def progress(self, progress: ProgressRecord) -> None:
        """See `layers`."""

    def model(self, model: ModelRecord) -> None:
        """See `layers`."""

    def tested(self, results: tuple[TestRecord, ...]) -> None:
        """See `layers`."""

    def file(self, record: FileRecord) -> None:
        """See `layers`."""

    def findings(self, findings: Mapping[str, Any]) -> None:
        """See `layers`."""


class Line:
    """The leader's end of the pipe: the launcher's recorder, ledger, wish to stop and clock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def layers(self, layers: Sequence[LayerRecord]) -> None:
        """Tell the launcher's recorder, as all of these do."""
        self._call("layers", layers)

    def step(self, step: StepRecord) -> None:
        """See `layers`."""
        self._call("step", step)

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        """See `layers`."""
        self._call("growth", growth)

    def progress(self, progress: ProgressRecord) -> None:
        """See `layers`."""
        self._call("progress", progress)

    def model(self, model: ModelRecord) -> None:
        """See `layers`."""
        self._call("model", model)

    def tested(self, results: tuple[TestRecord, ...]) -> None:
        """See `layers`."""
        self._call("tested", results)

    def file(self, record: FileRecord) -> None:
        """See `layers`."""
        self._call("file", record)

    def findings(self, findings: Mapping[str, Any]) -> None:
        """See `layers`."""
        self._call("findings", findings)

    def enter(self, entry: Entry) -> Sequence[Path]:
        """Let a checkpoint count in the launcher's ledger."""
        return cast("Sequence[Path]", self._call("enter", entry))

    def entries(self) -> Sequence[Entry]:
        """Return nothing: the launcher has looked before the run began."""
        return ()

    def stop(self) -> bool:
        """Return whether the launcher was asked to stop."""
        return bool(self._call("stop"))

    def clock(self) -> float:
        """Return the launcher's time, s."""
        return float(self._call("clock"))

    def mark(self, name: str) -> None:
        """Tell the launcher that a file is being written."""
        self._call("mark", name)

    def _call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 -- each call has its own
        self._connection.send(Call(name, arguments))
        return self._connection.recv()


def leaders(
    line: Line,
    *,
    directories: Sequence[Path],
    output: Path,
    every: int | None,
    **rest: Any,  # noqa: ANN401 -- fields of `Surroundings`
) -> Surroundings:
    """Return what the leader sees of the launcher's surroundings.

    Args:
        line: to the launcher.
        directories: where data sets lie.
        output: folder of the files.
        every: steps after which another checkpoint is due; None: none is kept.
        rest: state and team.
    """
    keeper = None if every is None else Keeper(output, line, every=every, mark=line.mark)
    return Surroundings(
        directories=directories,
        output=output,
        recorder=line,
        stop=line.stop,
        clock=line.clock,
        keeper=keeper,
        mark=line.mark,
        **rest,
    )


def followers(
    *,
    directories: Sequence[Path],
    output: Path,
    every: int | None,
    **rest: Any,  # noqa: ANN401 -- likewise
) -> Surroundings:
    """Return the surroundings of a process that does not lead: it tells and writes nothing."""
    nowhere = _Nowhere()
    return Surroundings(
        directories=directories,
        output=output,
        recorder=Mute(),
        keeper=None if every is None else Keeper(output, nowhere, every=every),
        **rest,
    )


class _Nowhere:
    """A ledger of a keeper that keeps nothing; what counts is how often one would be due."""

    def enter(self, entry: Entry) -> Sequence[Path]:
        raise AssertionError(f"only the leader keeps checkpoints, got {entry.path}")

    def entries(self) -> Sequence[Entry]:
        return ()
