"""The golden trajectories (tests/golden/README.md) and how they are replayed through SLBI."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slbi import SLBI
from tests.reference import Array, Structure

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.npz"))
BASE_CASES = [case for case in CASES if case.startswith("o")]

NUMBERS = ("kappa", "mu", "momentum", "weight_decay", "dampening")


class Case:
    """One golden file: its arrays, and what SLBI must be told to reproduce it."""

    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as file:
            self.arrays: dict[str, Array] = {key: file[key] for key in file.files if key != "meta"}
            meta = json.loads(str(file["meta"]))
        self.variant = name[:2] if name.startswith("v") else "base"
        self.names: list[str] = meta["names"]
        self.twins: list[str] = meta["slbi_names"]
        self.steps: int = meta["steps"]
        self.epoch_len: int = meta["epoch_len"]
        self.hyper: dict[str, Any] = meta["hyper"]

    def structure(self, name: str) -> Structure | None:
        """Return the structure of one parameter, None for those without a twin."""
        if name not in self.twins:
            return None
        grouped = self.arrays[f"W0/{name}"].ndim == 4 and self.variant in {"base", "v1"}
        return "filter" if grouped else "element"

    def options(self, name: str) -> dict[str, Any]:
        """Return the options of one parameter, by the names that SLBI and Reference share."""
        structure = self.structure(name)
        options: dict[str, Any] = {"structure": structure}
        options |= {key: float(self.hyper[key]) for key in NUMBERS}
        if self.variant in {"v1", "v2"}:
            options |= {"decay_first": True, "nesterov": self.hyper["nesterov"]}
        if self.variant == "v3":
            options |= {"normalised": True}
        if structure == "filter" and self.variant == "v1":
            options |= {"threshold": self.hyper["conv_lambda"], "scaling": "fan"}
        elif structure is not None and self.variant != "base":
            options |= {"threshold": self.hyper["fc_lambda"]}
        return options

    def lr(self, step: int) -> float:
        """Return the learning rate of one step, from 0."""
        return float(self.arrays["lr_per_step"][step])

    def golden(self, kind: str, name: str, step: int) -> Array | None:
        """Return W, Z, Gamma or M after one step; None where the file has none."""
        trajectory = self.arrays.get(f"{kind}/{name}")
        return None if trajectory is None else trajectory[step]

    def replay(self) -> Iterator[tuple[int, SLBI, dict[str, nn.Parameter]]]:
        """Yield the step (from 0), the optimizer and the parameters after each step."""
        parameters = {
            name: nn.Parameter(torch.from_numpy(self.arrays[f"W0/{name}"].copy()))
            for name in self.names
        }
        groups = [{"params": [p], **self.options(name)} for name, p in parameters.items()]
        optimizer = SLBI(groups, lr=self.lr(0))
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.lr(step)
            for name, parameter in parameters.items():
                parameter.grad = torch.from_numpy(self.arrays[f"grad/{name}"][step].copy())
            optimizer.step()
            yield step, optimizer, parameters


def numpy(tensor: Tensor) -> Array:
    """Return a copy of a tensor as a numpy array."""
    array: Array = tensor.detach().numpy().copy()
    return array
