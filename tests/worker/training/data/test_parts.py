import pytest

from worker.training.data.parts import WHOLE, Share


@pytest.mark.parametrize(("count", "of"), [(8, 2), (7, 2), (10, 3), (3, 3)])
def test_the_shares_of_a_batch_are_even_and_together_all_of_it(count: int, of: int) -> None:
    images = list(range(count))
    shares = [images[Share(rank=rank, of=of).of_batch(count)] for rank in range(of)]
    assert [image for share in shares for image in share] == images
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_batches_are_dealt_out_in_turns() -> None:
    batches = ["a", "b", "c", "d", "e"]
    assert [Share(rank=rank, of=2).turns(batches) for rank in range(2)] == [
        ["a", "c", "e"],
        ["b", "d"],
    ]
    assert WHOLE.turns(batches) == batches
