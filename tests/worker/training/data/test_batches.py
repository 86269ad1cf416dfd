import pytest
import torch

from worker.training.data.augment import NONE, Augmentation
from worker.training.data.batches import TrainingBatches, evaluation_batches
from worker.training.data.formats import Part
from worker.training.data.normalise import Normalisation
from worker.training.data.parts import WHOLE, Share

PLAIN = Normalisation(mean=(0.0,), deviation=(1.0,), peak=1)


def _part(count: int) -> Part:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    return Part(images=images.contiguous(), labels=torch.arange(count), classes=("a",) * count)


def _batches(
    count: int, batch: int, augmentation: Augmentation = NONE, share: Share = WHOLE
) -> TrainingBatches:
    return TrainingBatches(
        _part(count),
        batch=batch,
        normalisation=PLAIN,
        augmentation=augmentation,
        order=torch.Generator().manual_seed(0),
        variation=torch.Generator().manual_seed(1),
        share=share,
    )


def test_an_epoch_takes_an_image_at_most_once_and_keeps_its_label() -> None:
    batches = _batches(50, 8)
    epoch = list(batches)
    assert len(epoch) == len(batches) == 6
    assert batches.images == 48
    labels = torch.cat([labels for _, labels in epoch])
    assert len(set(labels.tolist())) == 48
    for images, own in epoch:
        assert torch.equal(images[:, 0, 0, 0], own.float())


def test_two_epochs_differ_in_order_and_a_new_run_repeats_them() -> None:
    first, again = _batches(50, 8), _batches(50, 8)
    epochs = [torch.cat([labels for _, labels in first]) for _ in range(2)]
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0], torch.cat([labels for _, labels in again]))


def test_a_part_smaller_than_a_batch_is_one_batch() -> None:
    batches = _batches(5, 8)
    assert [len(labels) for _, labels in batches] == [5]


def test_variation_leaves_the_order_alone() -> None:
    plain, varied = _batches(50, 8), _batches(50, 8, Augmentation(flip=True, shift=1))
    for (_, first), (_, second) in zip(plain, varied, strict=True):
        assert torch.equal(first, second)


def test_a_single_image_is_refused() -> None:
    with pytest.raises(ValueError, match="2 images or more, got 1"):
        _batches(1, 1)


def test_evaluation_sees_every_image_in_order() -> None:
    batches = list(evaluation_batches(_part(21), PLAIN, 8))
    assert [len(labels) for _, labels in batches] == [8, 8, 5]
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(21))


def test_the_shares_of_several_processes_are_the_batches_of_one() -> None:
    augmentation = Augmentation(flip=True, shift=1)
    shares = [list(_batches(50, 8, augmentation, Share(rank=rank, of=3))) for rank in range(3)]
    for index, (images, labels) in enumerate(_batches(50, 8, augmentation)):
        assert torch.equal(images, torch.cat([share[index][0] for share in shares]))
        assert torch.equal(labels, torch.cat([share[index][1] for share in shares]))


def test_more_processes_than_images_of_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"processes must be at most 5, .* got 6"):
        _batches(5, 8, share=Share(rank=0, of=6))
