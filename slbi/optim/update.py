"""The equations of one step, once, as functions on tensors.

They take lists so that one call serves many tensors (torch's foreach kernels). Each tensor of a
list of accumulators or directions has the shape of the weight at the same place.
"""

import torch
from torch import Tensor

from slbi.optim.shrink import shrink

MAX_REMAINDER = 0.01
"""Largest factor rho of the normalised Z step. Source: docs/method.md, "Variants"."""


def decayed(grads: list[Tensor], weights: list[Tensor], weight_decay: float) -> list[Tensor]:
    """Return g + l W."""
    return list(torch._foreach_add(grads, weights, alpha=weight_decay))  # noqa: SLF001 no public name


def accumulate(
    velocities: list[Tensor], grads: list[Tensor], *, momentum: float, dampening: float
) -> None:
    """V <- b V + (1 - d) g, in place."""
    torch._foreach_mul_(velocities, momentum)
    torch._foreach_add_(velocities, grads, alpha=1 - dampening)


def add_decay(velocities: list[Tensor], weights: list[Tensor], weight_decay: float) -> None:
    """V <- V + l W, in place."""
    torch._foreach_add_(velocities, weights, alpha=weight_decay)


def looked_ahead(grads: list[Tensor], velocities: list[Tensor], momentum: float) -> list[Tensor]:
    """Return Nesterov's direction, g + b V."""
    return list(torch._foreach_add(grads, velocities, alpha=momentum))  # noqa: SLF001 no public name


def descend(weights: list[Tensor], directions: list[Tensor], rate: float) -> None:
    """W <- W - rate D, in place."""
    torch._foreach_add_(weights, directions, alpha=-rate)


def split_groups(
    weights: list[Tensor],
    zs: list[Tensor],
    directions: list[Tensor],
    scales: list[Tensor],
    *,
    lr: float,
    kappa: float,
    mu: float,
) -> None:
    """Move weights whose twins are sparse by group, in place, all right-hand sides old.

    W <- W - a k D - (a k / m)(W - Gamma);  Z <- Z + (a / m)(W - Gamma),  Gamma = k scale Z.

    The sum W + k Z moves by the gradient alone. So W carries the sum while Z moves, and no
    temporary is needed: W - Gamma = (W + k Z) - k (1 + scale) Z.

    The scales come from `group_scales` and the old Z; they are spent, overwritten in place.

    Source: docs/method.md, "Update".
    """
    rate = lr / mu
    torch._foreach_add_(weights, zs, alpha=kappa)
    torch._foreach_mul_(scales, -rate * kappa)
    torch._foreach_add_(scales, 1 - rate * kappa)
    torch._foreach_mul_(zs, scales)
    torch._foreach_add_(zs, weights, alpha=rate)
    torch._foreach_add_(weights, zs, alpha=-kappa)
    descend(weights, directions, lr * kappa)


def split_entries(
    weights: list[Tensor],
    zs: list[Tensor],
    directions: list[Tensor],
    *,
    lr: float,
    kappa: float,
    mu: float,
    threshold: float,
) -> None:
    """Move weights whose twins are sparse by entry, in place, all right-hand sides old.

    The equations of `split_groups` with Gamma = k prox(Z), which costs one temporary.

    Source: docs/method.md, "Update".
    """
    gaps = [shrink(z, "element", threshold) for z in zs]
    torch._foreach_mul_(gaps, -kappa)
    torch._foreach_add_(gaps, weights)
    descend(weights, directions, lr * kappa)
    torch._foreach_add_(weights, gaps, alpha=-lr * kappa / mu)
    torch._foreach_add_(zs, gaps, alpha=lr / mu)


def split_entries_normalised(
    w: Tensor,
    z: Tensor,
    direction: Tensor,
    *,
    lr: float,
    kappa: float,
    mu: float,
    threshold: float,
) -> None:
    """Move one weight and its twin by the normalised variant, in place, entry by entry.

    W <- W - a D - (a / m)(W - Gamma);  Z <- Z + (a / (m k)) (rho / s) (W - Gamma),
    s = max(|W new|, 1) entry by entry, rho = min(1 - share in the support, 0.01).

    Source: docs/method.md, "Variants".
    """
    gamma = normalised_gamma(w, z, kappa=kappa, threshold=threshold)
    share = torch.count_nonzero(gamma).to(gamma.dtype) / gamma.numel()
    remainder = torch.rsub(share, 1).clamp_(max=MAX_REMAINDER)
    gap = torch.sub(w, gamma, out=gamma)
    w.add_(direction, alpha=-lr).add_(gap, alpha=-lr / mu)
    z.addcdiv_(gap.mul_(remainder), _magnitude(w), value=lr / (mu * kappa))


def normalised_gamma(w: Tensor, z: Tensor, *, kappa: float, threshold: float) -> Tensor:
    """Return Gamma of the normalised variant, kappa s prox(Z) with s = max(|W|, 1)."""
    return shrink(z, "element", threshold).mul_(_magnitude(w)).mul_(kappa)


def _magnitude(w: Tensor) -> Tensor:
    return w.abs().clamp_(min=1)
