"""From the spec of a job to the config of a run."""

from typing import Any

from pydantic import BaseModel

from service.contract import JobSpec
from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)

KEPT_BY_THE_JOB = frozenset({"kind", "classes", "label", "priority", "compute.limit_seconds"})
"""Fields of a spec that say something about the job and nothing to its run."""


def translate(spec: JobSpec) -> GrowConfig:
    """Return the config of a spec; what the spec leaves open takes the config's default.

    Raises:
        ValueError: two settings do not go together, e.g. nesterov without momentum.
    """
    compute = _given(spec.compute)
    compute.pop("limit_seconds", None)
    return GrowConfig(
        backbone=spec.backbone,
        data=DataConfig(dataset=spec.dataset, **_given(spec.data)),
        optim=OptimConfig(**_given(spec.optim)),
        growth=GrowthConfig(**_given(spec.growth)),
        tune=TuneConfig(**_given(spec.tune)),
        compute=ComputeConfig(**compute),
    )


def _given(section: BaseModel) -> dict[str, Any]:
    return section.model_dump(exclude_none=True)
