import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from worker.training.data.augment import NONE, Augmentation
from worker.training.data.batches import evaluation_batches
from worker.training.data.disk import DiskBatches, DiskPart
from worker.training.data.folder import listing
from worker.training.data.locate import DatasetError
from worker.training.data.normalise import Normalisation
from worker.training.data.parts import WHOLE, Share

PLAIN = Normalisation(mean=(0.0,) * 3, deviation=(1.0,) * 3, peak=255)
VARIED = Augmentation(flip=True, crop=True)


@pytest.fixture
def part(write_imagenet: Callable[..., None], tmp_path: Path) -> DiskPart:
    write_imagenet()
    listed = listing(tmp_path / "imagenet" / "train", tmp_path)
    return DiskPart(listed=listed, size=16, workers=0)


def _batches(
    part: DiskPart, augmentation: Augmentation = VARIED, share: Share = WHOLE, batch: int = 5
) -> DiskBatches:
    return DiskBatches(
        part,
        batch=batch,
        normalisation=PLAIN,
        augmentation=augmentation,
        order=torch.Generator().manual_seed(0),
        variation=torch.Generator().manual_seed(1),
        share=share,
    )


def _images(batches: DiskBatches) -> Tensor:
    return torch.cat([images for images, _ in batches])


def test_images_keep_their_labels_in_training_and_evaluation(part: DiskPart) -> None:
    drawn = [*_batches(part), *evaluation_batches(part, PLAIN, 7)]
    assert sum(len(labels) for _, labels in drawn) == 20 + 24
    for images, labels in drawn:
        assert images.mean(dim=(2, 3)).argmax(dim=1).tolist() == labels.tolist()


def test_an_epoch_takes_an_image_at_most_once_in_another_order_each_time(part: DiskPart) -> None:
    batches = _batches(part, NONE)
    first, second = _images(batches), _images(batches)
    assert len({image.numpy().tobytes() for image in first}) == 20
    assert not torch.equal(first, second)


def test_images_are_varied_anew_in_every_epoch(part: DiskPart) -> None:
    rows = torch.arange(24)
    views = [next(part.read([rows], VARIED, draw))[0] for draw in (1, 1, 2)]
    assert torch.equal(views[0], views[1])
    same = (views[0] == views[2]).flatten(1).all(dim=1)
    assert not bool(same.any())


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(part: DiskPart) -> None:
    alone, many = _batches(part), _batches(replace(part, workers=2))
    for _ in range(2):
        assert torch.equal(_images(alone), _images(many))
    assert torch.equal(part.sample(), replace(part, workers=2).sample())


@pytest.mark.parametrize("taken", range(5))
def test_an_epoch_goes_on_from_any_batch_as_if_it_had_not_been_left(
    part: DiskPart, taken: int
) -> None:
    left, went_on = _batches(part), _batches(part)
    _images(left)  # an epoch before
    epoch = iter(left)
    for _ in range(taken):
        next(epoch)
    state, position = left.state(), left.position
    went_on.restore(state, position)
    for _ in range(2):
        rest = list(left)
        again = list(went_on)
        assert len(rest) == len(again)
        for (images, labels), (same, also) in zip(rest, again, strict=True):
            assert torch.equal(images, same)
            assert torch.equal(labels, also)


def test_the_shares_of_several_processes_are_the_batches_of_one(part: DiskPart) -> None:
    whole = list(_batches(part, batch=7))
    shares = [list(_batches(part, share=Share(rank=r, of=3), batch=7)) for r in range(3)]
    for index, (images, labels) in enumerate(whole):
        assert torch.equal(images, torch.cat([share[index][0] for share in shares]))
        assert torch.equal(labels, torch.cat([share[index][1] for share in shares]))


def test_evaluation_is_dealt_out_in_turns(part: DiskPart) -> None:
    whole = [labels.tolist() for _, labels in part.batches(5)]
    turns = [
        [labels.tolist() for _, labels in part.batches(5, Share(rank=r, of=2))] for r in range(2)
    ]
    assert turns == [whole[0::2], whole[1::2]]


def test_reading_leaves_the_generator_of_torch_alone(part: DiskPart) -> None:
    before = torch.get_rng_state()
    _images(_batches(part))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_readers_outlive_the_signal_that_asks_a_run_to_stop(part: DiskPart) -> None:
    alone = _images(_batches(part))
    epoch = iter(_batches(replace(part, workers=1)))
    images = [next(epoch)[0]]
    for reader in multiprocessing.active_children():
        assert reader.pid is not None
        os.kill(reader.pid, signal.SIGTERM)
    images += [batch for batch, _ in epoch]
    assert torch.equal(torch.cat(images), alone)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_broken_file_is_a_plain_error_that_names_it(part: DiskPart, workers: int) -> None:
    broken = Path(part.listed.files[3])
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(DatasetError, match=f"^{broken} must be a sound PNG or JPEG image"):
        _images(_batches(replace(part, workers=workers), batch=24))


def test_other_files_or_labels_have_another_fingerprint(part: DiskPart) -> None:
    found = part.fingerprint()
    assert replace(part, workers=2).fingerprint() == found
    assert part.rows(torch.arange(23)).fingerprint() != found
    assert part.rows(torch.arange(1, 24)).fingerprint() != part.rows(torch.arange(23)).fingerprint()
    assert replace(part, size=8).fingerprint() != found
