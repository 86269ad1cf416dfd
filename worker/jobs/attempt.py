"""The training process: one attempt at one job, `python -m worker.jobs.attempt`.

Started by the supervisor, killed with it. SIGTERM asks it to stop. It writes its own outcome where
it can; what its exit code says beyond that is in `worker.jobs.exits`.
"""

import argparse
import os
import signal
import sys
import traceback
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from service import failpoints
from service.contract import AttemptOutcome
from service.errors import FenceLostError
from service.logs import configure
from service.settings import Settings
from service.spec.jobs import read_spec
from service.store.database import Database
from worker.jobs.exits import EXIT_FENCE_LOST, EXIT_OOM, EXIT_PREEMPTED, EXIT_RECORDED
from worker.jobs.held import Held
from worker.process import die_with_parent

if TYPE_CHECKING:
    from worker.jobs.sql_ledger import SqlLedger
    from worker.jobs.sql_recorder import SqlRecorder

_SPACE_FACTOR = 2
"""Times the size of the file for which there was no room: the next one may be larger."""


class _Stop:
    """Whether SIGTERM has come. Until training begins, it ends the process at once."""

    def __init__(self) -> None:
        self.training = False
        self._asked = False

    def __call__(self) -> bool:
        return self._asked

    def handle(self, _number: int, _frame: object) -> None:
        """Take the signal."""
        self._asked = True
        if not self.training:
            raise SystemExit(EXIT_PREEMPTED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the attempt named in the arguments and return the exit code."""
    parser = argparse.ArgumentParser(prog="worker.jobs.attempt")
    parser.add_argument("--job", type=uuid.UUID, required=True)
    parser.add_argument("--fence", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id of the supervisor")
    arguments = parser.parse_args(argv)
    die_with_parent(arguments.parent)
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop.handle)
    settings = Settings()
    configure(settings.log_format)
    failpoints.arm(settings.failpoint_dir)
    return _run(settings, arguments.job, arguments.fence, stop)


def _run(settings: Settings, job_id: uuid.UUID, fence: int, stop: _Stop) -> int:
    # torch takes seconds to load; by now this process dies with its parent and minds SIGTERM.
    from worker.jobs.sql_ledger import SqlLedger  # noqa: PLC0415 - see above
    from worker.jobs.sql_recorder import SqlRecorder  # noqa: PLC0415 - see above
    from worker.training.device import out_of_memory  # noqa: PLC0415 - see above
    from worker.training.epoch import Stopped  # noqa: PLC0415 - see above

    held = Held(
        database=Database(settings.database),
        job_id=job_id,
        fence=fence,
        artifacts=settings.artifacts,
        give_up=stop,
    )
    recorder = SqlRecorder(held)
    try:
        end = _train(settings, held.database, recorder, SqlLedger(held), stop)
        recorder.finish(
            end.outcome,
            end.reason,
            max_attempts=settings.max_attempts,
            space_needed=end.space_needed,
        )
    except Stopped:
        return EXIT_PREEMPTED
    except SQLAlchemyError:
        if not stop():
            raise
        return EXIT_PREEMPTED  # the database is away: the checkpoint before this one must do
    except FenceLostError as error:
        return _last_words(error, EXIT_FENCE_LOST)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _last_words(error, EXIT_OOM)
    return EXIT_RECORDED


@dataclass(frozen=True, kw_only=True, slots=True)
class _End:
    """How training ended, where the process can still say so."""

    outcome: AttemptOutcome
    reason: str | None = None
    space_needed: int | None = None


def _train(
    settings: Settings,
    database: Database,
    recorder: "SqlRecorder",
    ledger: "SqlLedger",
    stop: _Stop,
) -> _End:
    """Go on where the job was left, to its end. What is wrong with it is an outcome, no error."""
    from worker.jobs.sources import source_of  # noqa: PLC0415 - see _run
    from worker.jobs.translate import translate  # noqa: PLC0415 - see _run
    from worker.training.files import NoSpaceError  # noqa: PLC0415 - see _run
    from worker.training.keeper import Found, Keeper  # noqa: PLC0415 - see _run
    from worker.training.launch import run  # noqa: PLC0415 - see _run
    from worker.training.recipes.conduct import Surroundings  # noqa: PLC0415 - see _run
    from worker.training.recipes.resume import members_there  # noqa: PLC0415 - see _run

    keeper = Keeper(recorder.output, ledger, every=settings.checkpoint_steps, mark=failpoints.hit)
    job = recorder.begin(os.getpid())
    spec = read_spec(job.spec)
    found = keeper.last()
    if found.state is not None and not members_there(found.state, recorder.output):
        found = Found(state=None, entry=None)  # their time was over while the job had ended
    ledger.rewind(found.entry, found.damaged)
    recorder.go_on(None if found.entry is None else found.entry.point)
    stop.training = True
    try:
        source = source_of(database, spec, owner=job.owner, artifacts=settings.artifacts)
        around = Surroundings(
            directories=settings.datasets,
            output=recorder.output,
            recorder=recorder,
            stop=stop,
            keeper=keeper,
            state=found.state,
            mark=failpoints.hit,
        )
        run(translate(spec, source), around)
    except NoSpaceError as error:
        reason = f"There was no room for a file of {error.needed} bytes. It goes on when there is."
        needed = _SPACE_FACTOR * error.needed
        return _End(outcome=AttemptOutcome.NO_SPACE, reason=reason, space_needed=needed)
    except (ValueError, ArithmeticError) as error:
        traceback.print_exc()
        return _End(outcome=AttemptOutcome.FAILED, reason=str(error))
    return _End(outcome=AttemptOutcome.SUCCEEDED)


def _last_words(error: BaseException, code: int) -> int:
    """Write one line for the supervisor to keep, and return the exit code."""
    text = " ".join(str(error).split()) or type(error).__name__
    sys.stderr.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
