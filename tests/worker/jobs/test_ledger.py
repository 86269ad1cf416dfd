"""One suite for both ledgers: what is entered counts, two at a time, and survives what follows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from service.errors import FenceLostError
from service.store import claims
from service.store.tables import Checkpoint
from tests.worker.jobs.records import GROWTH, LAYERS, STEPS, count, hold, member, picture
from tests.yard import Yard
from worker.jobs.sql_ledger import SqlLedger
from worker.jobs.sql_recorder import SqlRecorder
from worker.training.files import NoSpaceError
from worker.training.keeper import FileLedger, Keeper, Ledger, Point
from worker.training.state import State


@dataclass
class Kept:
    folder: Path
    again: Callable[[], Ledger]
    """Opens the ledger as another process does."""


def ledger_of(recorder: SqlRecorder) -> SqlLedger:
    return SqlLedger(recorder._held)


@pytest.fixture(params=["file", "sqlite", pytest.param("postgresql", marks=pytest.mark.stack)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "file":
        return Kept(tmp_path / "1", lambda: FileLedger(tmp_path / "ledger.json"))
    yard = Yard(request.getfixturevalue(request.param), tmp_path)
    yard.enqueue()
    _, recorder = hold(yard)
    return Kept(recorder.output, lambda: ledger_of(recorder))


def state(number: int) -> State:
    return State(tensors={"w": torch.full((2, 3), float(number))}, about={"number": number})


def point(step: int, **other: int) -> Point:
    return Point(
        **{"step": step, "epoch": 1, "round": 0, "recorded_step": 10, "models": 0, **other}
    )


def numbers(kept: Kept) -> list[int]:
    return [entry.point.step for entry in kept.again().entries()]


def test_the_last_two_checkpoints_count_and_no_other_file_is_left(kept: Kept) -> None:
    keeper = Keeper(kept.folder, kept.again(), every=1)
    assert keeper.last().state is None
    for number in (10, 20, 30):
        keeper.keep(state(number), point(number))
    assert numbers(kept) == [30, 20]
    assert sorted(path.name[:15] for path in kept.folder.iterdir()) == [
        "state-000000020",
        "state-000000030",
    ]
    found = Keeper(kept.folder, kept.again(), every=1).last()
    assert found.state is not None
    assert found.state.about == {"number": 30}
    assert torch.equal(found.state.tensors["w"], torch.full((2, 3), 30.0))
    assert found.damaged == ()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [_flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-7])]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_serves(
    kept: Kept, damage: Callable[[Path], object]
) -> None:
    keeper = Keeper(kept.folder, kept.again(), every=1)
    for number in (10, 20):
        keeper.keep(state(number), point(number))
    damage(kept.again().entries()[0].path)
    found = keeper.last()
    assert found.entry is not None
    assert found.entry.point.step == 10
    assert [entry.point.step for entry in found.damaged] == [20]
    damage(kept.again().entries()[1].path)
    assert keeper.last().state is None
    assert len(keeper.last().damaged) == 2


def test_a_state_of_another_format_is_as_good_as_damaged(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(kept.folder, kept.again(), every=1)
    with monkeypatch.context() as changed:
        changed.setattr("worker.training.state.FORMAT", 0)
        keeper.keep(state(10), point(10))
    assert keeper.last().state is None


def test_where_there_is_no_room_nothing_is_left_and_the_ones_before_count(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(kept.folder, kept.again(), every=1)
    keeper.keep(state(10), point(10))

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NoSpaceError) as caught:
        keeper.keep(state(20), point(20))
    monkeypatch.undo()
    assert caught.value.needed > 24
    assert numbers(kept) == [10]
    assert len(list(kept.folder.iterdir())) == 1


def test_strides_and_every_bit_survive_the_file() -> None:
    last = torch.randn(3, 4, 5, 5).to(memory_format=torch.channels_last)
    single = torch.randn(6, 1, 3, 3).to(memory_format=torch.channels_last)
    given = State(tensors={"last": last, "single": single, "none": torch.tensor(3)}, about={})
    back = State.from_bytes(given.to_bytes())
    for name, tensor in given.tensors.items():
        assert torch.equal(back.tensors[name], tensor)
        assert back.tensors[name].stride() == tensor.stride()


def test_a_stale_attempt_can_keep_nothing(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, stale = hold(yard)
    keeper = Keeper(stale.output, ledger_of(stale), every=1)
    with yard.database.writing() as session:
        later = datetime.now(UTC) + timedelta(hours=1)
        assert claims.expire(session, now=later, max_attempts=3) == [job_id]
    with pytest.raises(FenceLostError):
        keeper.keep(state(10), point(10))
    with pytest.raises(FenceLostError):
        ledger_of(stale).rewind(None, [])
    assert count(yard, Checkpoint) == 0


def test_rewinding_takes_back_what_lies_beyond_and_nothing_else(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, recorder = hold(yard)
    ledger = ledger_of(recorder)
    ledger.rewind(None, [])
    recorder.go_on(None)
    keeper = Keeper(recorder.output, ledger, every=1)
    recorder.layers(LAYERS)
    recorder.step(STEPS[0])
    recorder.model(member(recorder.output, 0))
    recorder.step(STEPS[1])
    recorder.file(picture(recorder.output, "kept.png", b"kept", 20))
    recorder.findings({"so": "far"})
    here = point(25, recorded_step=20, models=1)
    keeper.keep(state(25), here)
    recorder.model(member(recorder.output, 1))
    recorder.growth(GROWTH)
    recorder.step(STEPS[2])
    recorder.file(picture(recorder.output, "gone.png", b"gone", 30))
    with yard.database.writing() as session:
        claims.expire(session, now=datetime.now(UTC) + timedelta(hours=1), max_attempts=3)

    _, second = hold(yard)
    ledger = ledger_of(second)
    found = Keeper(second.output, ledger, every=1).last()
    assert found.entry is not None
    ledger.rewind(found.entry, found.damaged)
    second.go_on(found.entry.point)

    assert found.entry.point == here
    assert yard.steps(job_id) == [10, 20]
    assert yard.job(job_id).best_accuracy == 0.9
    assert yard.attempts(job_id)[1].resumed_from == 25
    names = sorted(path.name for path in recorder.output.iterdir())
    assert names == ["0.safetensors", "020-kept.png", found.entry.path.name]
    assert yard.job(job_id).findings == {"so": "far"}
    assert yard.events(job_id)[-1].data == {"step": 25, "epoch": 1, "damaged": []}
    second.layers(LAYERS)
    second.model(member(second.output, 1))
    second.growth(GROWTH)
    second.step(STEPS[2])
    assert yard.steps(job_id) == [10, 20, 30]


def test_losses_before_a_checkpoint_that_got_further_are_forgiven(yard: Yard) -> None:
    job_id = yard.enqueue()
    for number in range(1, 8):
        _, recorder = hold(yard)
        Keeper(recorder.output, ledger_of(recorder), every=1).keep(state(1), point(10 * number))
        assert lose(yard) == "queued"
    for after in ("queued", "failed"):
        _, recorder = hold(yard)
        Keeper(recorder.output, ledger_of(recorder), every=1).keep(state(1), point(70))
        assert lose(yard) == after
    assert yard.job(job_id).error == (
        "Given up: the job was lost 3 times. The last time: "
        "The worker was not heard of until its lease ran out."
    )


def lose(yard: Yard) -> str:
    with yard.database.writing() as session:
        later = datetime.now(UTC) + timedelta(hours=1)
        (job_id,) = claims.expire(session, now=later, max_attempts=3)
    return yard.state(job_id)
