"""A run in as many processes as its config asks for, started by torch's elastic launcher."""

import logging
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from worker.process import kernel_kills
from worker.training.device import resolve
from worker.training.files import write_whole
from worker.training.kinds import run as run_alone
from worker.training.line import Call, Done, Failed, callable_from_leader
from worker.training.rank import Orders, work
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.result import Result

_GLANCE_S = 0.1
"""Between two looks whether the processes are still there."""
_WARNS_OF_SIGNALS = "torch.distributed.elastic.multiprocessing.api"
_ENDED = (EOFError, OSError)
"""What a pipe says when the process at its other end has ended, be it amid a message."""
_GRACE_S = 1
"""How long a process may live on when another one has failed: what it does is lost anyway."""


class RankLostError(RuntimeError):
    """A process of a run has ended in a way that nobody expected."""


def run(config: Any, around: Surroundings) -> Result:  # noqa: ANN401 - each kind has its own
    """Do what a config says, in as many processes as it says.

    They are of this process's group and die with it. Recorder, ledger, clock, the wish to stop and
    marks stay here: the leader asks for them.

    Raises:
        as `worker.training.kinds.run`; also RankLostError: a process has crashed or was killed, and
        MemoryError: one ran out of memory.
    """
    processes: int = config.compute.processes
    if processes == 1:
        return run_alone(config, around)
    if not hasattr(config, "optim"):
        raise ValueError(f"processes must be 1 for a run that trains nothing, got {processes}")
    if resolve(config.compute).device.type == "cuda" and processes > torch.cuda.device_count():
        raise ValueError(
            f"processes must be at most {torch.cuda.device_count()}, one for each GPU, "
            f"got {processes}"
        )
    with TemporaryDirectory(prefix="slbi-") as logs, _shared_state(around) as state:
        return _Launch(config, around, state, Path(logs)).result()


class _Launch:
    """The processes of one run, and what they have told."""

    def __init__(self, config: Any, around: Surroundings, state: Path | None, logs: Path) -> None:  # noqa: ANN401 - likewise
        self._around = around
        self._calls = callable_from_leader(around)
        self._pipes = [Pipe() for _ in range(config.compute.processes)]
        self._lines = [ours for ours, _ in self._pipes]
        """At whose other end there is a process."""
        self._failure: ChildFailedError | None = None
        self._kills = kernel_kills()
        orders = Orders(
            config=config,
            launcher=os.getpid(),
            directories=tuple(around.directories),
            output=around.output,
            state=state,
            every=None if around.keeper is None else around.keeper.every,
        )
        # Not in the main thread: there, the launcher would put its own handlers in the place of
        # ours, and end the processes where they are to stop between two steps.
        self._thread = threading.Thread(target=self._start, args=(orders, logs), name="slbi-launch")

    def result(self) -> Result:
        """Start the processes, answer the leader and return what came of the run."""
        self._thread.start()
        done: dict[Connection, Done] = {}
        failures: list[BaseException] = []
        try:
            while self._thread.is_alive() or wait(self._lines, 0):
                ready = wait(self._lines, _GLANCE_S)
                for line in [line for line in self._lines if line in ready]:
                    message = self._received(line)
                    if isinstance(message, Done):
                        done[line] = message
                    elif isinstance(message, Failed):
                        failures.append(message.error)
        finally:
            for connection, _ in self._pipes:
                connection.close()  # a leader that asks for something ends, and the others with it
            self._thread.join()
        if failures:
            raise failures[0]
        if len(done) < len(self._pipes):
            raise self._lost()
        return done[self._pipes[0][0]].result  # whatever befell a process behind its end

    def _received(self, line: Connection) -> Done | Failed | None:
        """Answer a call; return what is none."""
        try:
            message: Call | Done | Failed = line.recv()
        except _ENDED:
            self._lines.remove(line)
            return None
        if not isinstance(message, Call):
            return message
        answer = self._calls[message.name](*message.arguments)
        with suppress(*_ENDED):
            line.send(answer)
        return None

    def _start(self, orders: Orders, logs: Path) -> None:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=len(self._pipes),
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,  # the next attempt is the supervisor's to start
            logs_specs=DefaultLogsSpecs(log_dir=str(logs)),
            shutdown_timeout=_GRACE_S,
        )
        # It warns that it handles no signals, which is meant.
        logging.getLogger(_WARNS_OF_SIGNALS).setLevel(logging.ERROR)
        theirs = tuple(pipe[1] for pipe in self._pipes)
        try:
            elastic_launch(config, work)(orders, theirs)
        except ChildFailedError as error:
            self._failure = error
        finally:
            for connection in theirs:
                connection.close()

    def _lost(self) -> BaseException:
        """Return the error for processes that have ended without a word."""
        if self._failure is None:
            return RankLostError("every process must tell how it ended, none did")
        rank, failure = self._failure.get_first_failure()
        how = f"exit code {failure.exitcode}"
        if failure.exitcode < 0:
            how = signal.Signals(-failure.exitcode).name
        told = f"process {rank} of {len(self._pipes)} ended with {how}"
        if -failure.exitcode == signal.SIGKILL and kernel_kills() > self._kills:
            return MemoryError(f"{told}: the kernel killed it for want of memory")
        return RankLostError(told)


@contextmanager
def _shared_state(around: Surroundings) -> Iterator[Path | None]:
    """Write the state to go on from where every process can read it; yield None if there is none.

    The file has no name any more, so that nothing of it is left, whatever is killed.

    Raises:
        NoSpaceError: there is no room for it.
    """
    if around.state is None:
        yield None
        return
    around.output.mkdir(parents=True, exist_ok=True)
    path = around.output / "shared-state.safetensors"
    write_whole(path, around.state.to_bytes())
    with path.open("rb") as file:
        path.unlink()
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
