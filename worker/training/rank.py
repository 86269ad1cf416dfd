"""One process of several that do a run together, as torch's elastic launcher starts it."""

import os
import pickle
import signal
import traceback
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist

from worker.process import die_with_parent
from worker.training.data.parts import Share
from worker.training.device import out_of_memory, resolve
from worker.training.epoch import Stopped
from worker.training.files import NoSpaceError
from worker.training.kinds import run
from worker.training.line import Done, Failed, Line, followers, leaders
from worker.training.state import State
from worker.training.team import Team

_PATIENCE = timedelta(days=30)
"""How long to wait for the leader, who may wait for a database; the launcher sees who is dead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """What all processes of a run are given alike."""

    config: Any
    """Of its kind, see `worker.training.kinds`."""
    launcher: int
    """Process id of the one that launched them."""
    directories: tuple[Path, ...]
    output: Path
    state: Path | None
    """File of the state to go on from."""
    every: int | None
    """Steps after which another checkpoint is due; None: none is kept."""


def work(orders: Orders, lines: tuple[Connection, ...]) -> None:
    """Do one process's part of a run; its rank stands in the environment.

    Args:
        orders: what to do.
        lines: of each process, in the order of their ranks, its end of a pipe to the launcher.
    """
    die_with_parent(orders.launcher)
    # What a terminal or a supervisor sends to all processes is the launcher's to answer.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rank = int(os.environ["RANK"])
    for other, line in enumerate(lines):
        if other != rank:
            line.close()
    try:
        done = Done(_run(orders, lines[rank]))
    except Stopped as error:
        lines[rank].send(Failed(error))
    except Exception as error:
        traceback.print_exc()
        answerable = _answerable(error)
        if answerable is None:
            raise
        lines[rank].send(Failed(answerable))
        raise SystemExit(1) from None  # so that the launcher ends the others
    else:
        lines[rank].send(done)


def _run(orders: Orders, connection: Connection) -> Any:  # noqa: ANN401 -- a `Result`
    team = _join(orders)
    try:
        given: dict[str, Any] = {
            "directories": orders.directories,
            "output": orders.output,
            "every": orders.every,
            "state": None if orders.state is None else State.from_bytes(orders.state.read_bytes()),
            "team": team,
        }
        around = leaders(Line(connection), **given) if team.leads else followers(**given)
        result = run(orders.config, around)
        team.agree(wish=True)  # nobody goes before the leader has told all
    finally:
        dist.destroy_process_group()
    return result


def _join(orders: Orders) -> Team:
    """Return the team, once all of it are there; a process takes its own GPU, or share of a CPU."""
    share = Share(rank=int(os.environ["RANK"]), of=int(os.environ["WORLD_SIZE"]))
    if resolve(orders.config.compute).device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl")
        messages = dist.new_group(backend="gloo", timeout=_PATIENCE)
        return Team(share=share, control=cast("dist.ProcessGroup", messages))
    if orders.config.compute.threads is None:
        torch.set_num_threads(max(1, torch.get_num_threads() // share.of))
    dist.init_process_group("gloo", timeout=_PATIENCE)
    return Team(share=share)


def _answerable(error: Exception) -> BaseException | None:
    """Return the error as the launcher's caller knows it; None for one that nobody expects."""
    if out_of_memory(error):
        return MemoryError(str(error))
    if not isinstance(error, ValueError | ArithmeticError | NoSpaceError):
        return None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own, of a moment ago
    except Exception:  # noqa: BLE001 -- whatever an error's class does when it is made anew
        return ValueError(str(error))
    return error
