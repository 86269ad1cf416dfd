"""What a worker trains on, found out without torch: the worker process never loads it."""

from pathlib import Path

NVIDIA = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver lists the devices, a folder each. Source: its README, "proc Interface"."""


def describe(gpus: Path = NVIDIA) -> str:
    """Return the models of the NVIDIA devices, or "cpu" if there is none."""
    models = []
    for information in sorted(gpus.glob("*/information")):
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                models.append(value.strip())
    return ", ".join(models) or "cpu"
