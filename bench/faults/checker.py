"""What must be true of the history of every job that has ended, whatever was done to it.

Each rule reads the rows of one job and gives a sentence for everything that does not hold.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.faults import records
from bench.faults.history import History
from service.contract import FINAL_STATES, EventType, JobState
from service.store.tables import JobEvent

FINAL_EVENTS = frozenset(EventType(state) for state in FINAL_STATES)
"""Events that end a job."""

VERDICTS = FINAL_EVENTS | {EventType.REQUEUED, EventType.PAUSED}
"""What must stand behind the end of an attempt: what it made of the job."""

WRITTEN_UNDER_LEASE = frozenset(
    {
        EventType.PROGRESS,
        EventType.GREW,
        EventType.MODEL,
        EventType.TESTED,
        EventType.FILE,
        EventType.FINDINGS,
        EventType.RESTORED,
    }
)
"""Events that only the attempt which holds the job may write."""


def violations(history: History, artifacts: Path) -> list[str]:
    """Return what does not hold of a job that has ended, with its files; nothing if all does.

    Args:
        history: of the job.
        artifacts: directory of all files of all jobs.
    """
    rules = (
        ends_once,
        claims_rise,
        attempts_end,
        attempts_are_judged,
        progress_is_unbroken,
        records.path_is_whole,
        records.growth_shows_in_the_path,
        records.family_is_whole,
        records.files_are_announced,
        records.nothing_lost_remains,
    )
    told = [sentence for rule in rules for sentence in rule(history)]
    told += records.files_are_right(history, artifacts)
    return [f"job {history.job.id}: {sentence}" for sentence in told]


def ends_once(history: History) -> Iterator[str]:
    """Give what does not hold of its ends: one, and one before each time it was tried again."""
    stretches = _stretches(history.events)
    for stretch in stretches:
        types = [event.type for event in stretch]
        places = [place for place, kind in enumerate(types) if kind in FINAL_EVENTS]
        if len(places) != 1:
            told = ", ".join(types[place] for place in places) or "never"
            yield f"it must end exactly once, it ended: {told}"
        elif EventType.CLAIMED in types[places[0] :]:
            yield f"nobody may claim it behind its end, somebody did after {types[places[0]]}"
    ends = [event.type for event in stretches[-1] if event.type in FINAL_EVENTS]
    if ends[-1:] != [history.job.state]:
        told = ends[-1] if ends else "none"
        yield f"its state must be that of its last end, {told}, it is {history.job.state}"


def claims_rise(history: History) -> Iterator[str]:
    """Give what does not hold of its claims: fences 1, 2, 3, …, each with one attempt."""
    claimed = [event.fence for event in history.events if event.type == EventType.CLAIMED]
    if claimed != list(range(1, len(claimed) + 1)):
        yield f"its claims must raise the fence by one each, got {claimed}"
    if history.job.fence != max(claimed, default=0):
        yield f"its fence must be that of its last claim, it is {history.job.fence}"
    tried = [attempt.fence for attempt in history.attempts]
    if tried != sorted(claimed):
        yield f"there must be an attempt for every claim {claimed}, got {tried}"
    if history.job.attempts != len(claimed):
        yield f"it must count {len(claimed)} attempts, it counts {history.job.attempts}"


def attempts_end(history: History) -> Iterator[str]:
    """Give what does not hold of its attempts: one at a time, ended once, silent afterwards."""
    holder: int | None = None
    for event in history.events:
        kind, fence = event.type, event.fence
        if kind == EventType.CLAIMED:
            if holder is not None:
                yield f"attempt {holder} must end before {fence} begins, it did not"
            holder = fence
        elif kind in WRITTEN_UNDER_LEASE and fence != holder:
            yield f"attempt {fence} may not write {kind} while {holder or 'nobody'} holds the job"
        elif kind == EventType.ATTEMPT_ENDED:
            if fence != holder:
                yield f"attempt {fence} must be held to end, {holder or 'nobody'} held the job"
            holder = None
    if holder is not None:
        yield f"attempt {holder} must have ended, it has not"


def attempts_are_judged(history: History) -> Iterator[str]:
    """Give what does not hold of their ends: told as recorded, and a verdict right behind."""
    rows = {attempt.fence: attempt for attempt in history.attempts}
    for event, following in zip(history.events, [*history.events[1:], None], strict=True):
        if event.type != EventType.ATTEMPT_ENDED:
            continue
        row = rows.get(event.fence)
        recorded = None if row is None else row.outcome
        if recorded != event.data["outcome"]:
            told = f"{event.data['outcome']}, its row says {recorded}"
            yield f"attempt {event.fence} must end as its event says: {told}"
        if following is None or following.type not in VERDICTS or following.fence != event.fence:
            came = "nothing" if following is None else following.type
            yield f"the end of attempt {event.fence} must be judged at once, {came} came"
    for row in rows.values():
        if row.ended_at is None or row.ended_at < row.started_at:
            yield f"attempt {row.fence} must have ended after it began"


def progress_is_unbroken(history: History) -> Iterator[str]:
    """Give what does not hold of its progress: epoch by epoch, on from where it was restored."""
    expected = 1
    for event in history.events:
        if event.type == EventType.CLAIMED:
            expected = 1
        elif event.type == EventType.RESTORED:
            expected = event.data["epoch"] + 1
        elif event.type == EventType.PROGRESS:
            epoch = event.data["epoch"]
            if epoch != expected:
                yield f"attempt {event.fence} must report epoch {expected}, it reported {epoch}"
            expected = epoch + 1
    finished = history.job.state == JobState.SUCCEEDED
    if finished and (not history.steps or expected != history.steps[-1].epoch + 1):
        yield "its last progress must be that of its last epoch"


def _stretches(events: Sequence[JobEvent]) -> list[list[JobEvent]]:
    """Return the events cut where the job was tried again."""
    cut: list[list[JobEvent]] = [[]]
    for event in events:
        if event.type == EventType.RETRIED:
            cut.append([])
        cut[-1].append(event)
    return cut
