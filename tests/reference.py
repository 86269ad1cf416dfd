"""The method word for word in numpy float64: slow, out of place, every quantity stored.

It shares nothing with the sources but the equations of docs/method.md, so that one can judge the
other. One `Reference` follows one tensor.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Structure = Literal["filter", "column", "element"]


@dataclass(kw_only=True)
class Reference:
    """One tensor under SLBI; `step` moves it."""

    w: Array
    kappa: float = 1.0
    mu: float = 100.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    structure: Structure | None = None
    threshold: float = 1.0
    scaling: Literal["none", "fan"] = "none"
    decay_first: bool = False
    normalised: bool = False
    z: Array = field(init=False)
    gamma: Array = field(init=False)
    v: Array | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.w = self.w.copy()
        self.z = np.zeros_like(self.w)
        self.gamma = np.zeros_like(self.w)

    def step(self, grad: Array, lr: float) -> None:
        """One step of part 1 of the method, in the order in which it is written there."""
        direction = self._direction(grad)
        if self.structure is None:
            self.w = self.w - lr * (1.0 if self.normalised else self.kappa) * direction
        elif self.normalised:
            self._split_normalised(direction, lr)
        else:
            w, gamma = self.w, self.gamma
            self.w = w - lr * self.kappa * direction - (lr * self.kappa / self.mu) * (w - gamma)
            self.z = self.z + (lr / self.mu) * (w - gamma)
            self.gamma = self.kappa * prox(self.z, self.structure, self._threshold())

    def _direction(self, grad: Array) -> Array:
        decay = self.weight_decay * self.w if self.w.ndim > 1 else np.zeros_like(self.w)
        first = self.decay_first or self.nesterov or self.structure is None
        g = grad + decay if first else grad.copy()
        after = np.zeros_like(decay) if first else decay
        if self.momentum == 0:
            return g + after
        if self.v is None:
            self.v = g + after
        else:
            self.v = self.momentum * self.v + (1 - self.dampening) * g + after
        return g + self.momentum * self.v if self.nesterov else self.v

    def _split_normalised(self, direction: Array, lr: float) -> None:
        w, gamma = self.w, self.gamma
        rho = min(1 - float(np.mean(gamma != 0)), 0.01)
        self.w = w - lr * direction - (lr / self.mu) * (w - gamma)
        s = np.maximum(np.abs(self.w), 1.0)
        self.z = self.z + (lr / (self.mu * self.kappa)) * (rho / s) * (w - gamma)
        self.gamma = self.kappa * s * prox(self.z, "element", self.threshold)

    def _threshold(self) -> float:
        if self.scaling == "none" or self.structure == "element":
            return self.threshold
        groups = self.w.shape[0 if self.structure == "filter" else 1]
        return self.threshold * math.sqrt(self.w.size / groups)


def prox(z: Array, structure: Structure, threshold: float) -> Array:
    """The soft threshold, by one loop over groups; a group of norm 0 stays 0."""
    out = np.zeros_like(z)
    if structure == "element":
        for index, value in np.ndenumerate(z):
            out[index] = math.copysign(max(abs(value) - threshold, 0.0), value)
        return out
    axis = 0 if structure == "filter" else 1
    for group in range(z.shape[axis]):
        index = (slice(None),) * axis + (group,)
        norm = math.sqrt(float(np.sum(z[index] ** 2)))
        if norm > 0:
            out[index] = z[index] * max(0.0, 1 - threshold / norm)
    return out
