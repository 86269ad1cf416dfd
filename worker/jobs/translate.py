"""From the spec of a job to the config of a run."""

from typing import Any

from service.spec.jobs import JobSpec
from worker.training.kinds import configured
from worker.training.plans import Source

KEPT_BY_THE_JOB = frozenset({"kind", "classes", "label", "priority", "compute.limit_seconds"})
"""Fields of a spec that say something about the job and nothing to its run."""


def translate(spec: JobSpec, source: Source | None = None) -> Any:  # noqa: ANN401 - each kind has a config
    """Return the config of a spec; what the spec leaves open takes the config's default.

    Args:
        spec: as the service completed it.
        source: the files of the network that the job starts from, if it starts from one.

    Raises:
        ValueError: two settings do not go together, e.g. nesterov without momentum.
    """
    settings: dict[str, Any] = spec.model_dump(exclude_none=True)
    for name in ("kind", "classes", "label", "priority"):
        settings.pop(name, None)
    settings["compute"].pop("limit_seconds", None)
    settings["data"]["dataset"] = settings.pop("dataset")
    if source is not None:
        settings["source"] = source
    return configured(spec.kind, settings)
