from collections.abc import Iterable

import pytest
import torch

from slbi.course.training import Batch, Feed

SIZES = (3, 3, 2)


def _batches() -> Iterable[Batch]:
    for size in SIZES:
        yield torch.zeros(size, 1), torch.zeros(size)


def _feed() -> Feed:
    return Feed(batches=_batches, sizes=SIZES)


def _sizes(feed: Feed, steps: int, inputs: int) -> list[int]:
    return [len(inputs) for inputs, _ in feed.take(steps, inputs)]


def test_batches_go_on_where_they_were_left_epoch_behind_epoch() -> None:
    feed = _feed()
    assert _sizes(feed, 2, 99) == [3, 3]
    assert feed.left == 1
    assert _sizes(feed, 3, 99) == [2, 3, 3]
    assert feed.taken == 5


def test_no_more_inputs_are_taken_than_allowed_and_none_is_lost() -> None:
    feed = _feed()
    assert _sizes(feed, 9, 5) == [3]
    assert not feed.fits(2)
    assert _sizes(feed, 2, 5) == [3, 2]


@pytest.mark.parametrize(
    ("taken", "inputs", "steps"), [(0, 0, 0), (0, 2, 0), (0, 8, 3), (1, 5, 2), (2, 13, 5)]
)
def test_steps_are_counted_by_the_batches_that_come(taken: int, inputs: int, steps: int) -> None:
    feed = _feed()
    _sizes(feed, taken, 99)
    assert feed.steps(inputs) == steps
    assert len(_sizes(feed, 99, inputs)) == steps


def test_a_batch_may_use_the_memory_of_the_one_before() -> None:
    memory = torch.zeros(1, 1)

    def batches() -> Iterable[Batch]:
        for number in range(3):
            yield memory.fill_(number), memory[0]

    feed = Feed(batches=batches, sizes=(1, 1, 1))
    assert [float(inputs) for inputs, _ in feed.take(5, 99)] == [0, 1, 2, 0, 1]


def test_epochs_without_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="batches must hold at least one batch, got none"):
        Feed(batches=_batches, sizes=())
    once = iter(list(_batches()))
    feed = Feed(batches=lambda: once, sizes=SIZES)
    with pytest.raises(ValueError, match="batches must hold at least one batch, got none"):
        _sizes(feed, 9, 99)
