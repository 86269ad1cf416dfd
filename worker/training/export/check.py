"""Whether a written file predicts what its network predicts."""

from torch import Tensor, nn

from worker.training.export.formats import Predict

TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest logit, that a file may have."""

SINGLE, SEVERAL = 1, 7
"""Images at once: the batch of every file is free. Neither is that of the trace."""


def largest_difference(predict: Predict, net: nn.Module, images: Tensor) -> float:
    """Return the largest difference of a logit, relative to the largest one, over both batches.

    Args:
        predict: what runs the file.
        net: the network in eval mode, on the CPU.
        images: (N, C, H, W) normalised, one or more.
    """
    batches = (images[:SINGLE], images[:SEVERAL])
    return max(_difference(predict(batch), net(batch)) for batch in batches)


def check_difference(title: str, difference: float) -> None:
    """Refuse a file that predicts something else.

    Raises:
        ValueError: it differs by more than `TOLERANCE`, or is no number.
    """
    if not difference <= TOLERANCE:  # a NaN fails too
        raise ValueError(
            f"{title} must predict what the network predicts, to {TOLERANCE:g} of its largest "
            f"logit; it differs by {difference:.1e}"
        )


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    largest = (found - expected).abs().max()
    return float(largest / expected.abs().max()) if largest else 0.0
