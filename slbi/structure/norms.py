"""How large the filters, columns or entries of a weight are, and how far it is from its twin."""

from torch import Tensor

from slbi.optim.shrink import Structure, group_norms


def norms(w: Tensor, structure: Structure) -> Tensor:
    """Return the Euclidean norm of each filter or column, or the size of each entry.

    Args:
        w: (O, I, ...). Rank 2 or more; of any rank for "element".
        structure: what is measured as one.

    Returns:
        (O,) for "filter", (I,) for "column", the shape of `w` for "element".

    Source: docs/method.md, "Norms and residue".
    """
    w = w.detach()
    return w.abs() if structure == "element" else group_norms(w, structure).flatten()


def row_norms(tensor: Tensor) -> Tensor:
    """Return the Euclidean norm of each slice along axis 0, (O,), of a tensor of any rank from 1.

    Source: docs/method.md, "Norms and residue".
    """
    return norms(tensor.reshape(len(tensor), -1), "filter")


def residue(w: Tensor, gamma: Tensor, mu: float) -> float:
    """Return how far a weight is from its twin: squared distance of W and Gamma over 2 mu.

    Raises:
        ValueError: the shapes differ.

    Source: docs/method.md, "Norms and residue".
    """
    if w.shape != gamma.shape:
        raise ValueError(
            f"w and gamma must have one shape, got {tuple(w.shape)} and {tuple(gamma.shape)}"
        )
    return (w.detach() - gamma).square().sum().item() / (2 * mu)
