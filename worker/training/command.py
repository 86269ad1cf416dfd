"""What `slbi grow` runs: the method on this machine, without any service."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.training.recipes.grow import grow
from worker.training.report import Report, Reporter
from worker.training.suit import suited

DATA_DIRECTORIES = (Path("data"), Path("/usr/share/datasets"))
"""Where data sets are looked for by default: here, and where Debian's packages put them."""

_NAMES = frozenset({"dataset", "backbone"})


def run(
    spec: Mapping[str, Any], *, directories: Sequence[Path], output: Path, report: Report
) -> None:
    """Grow a network and report every record of it, at the end `succeeded` with what came of it.

    The entry point `grow` of the group `slbi.worker`.

    Args:
        spec: "dataset", "backbone" and, by section, whatever differs from what suits the data set.
        directories: where data sets lie, searched in order; none for the default ones.
        output: folder of the checkpoints.
        report: takes the records.

    Raises:
        ValueError: the spec is not valid, or the data set cannot be used.
        ArithmeticError: training diverged.
    """
    settings = {name: value for name, value in spec.items() if name not in _NAMES}
    for name, value in settings.items():
        if not isinstance(value, Mapping):
            raise ValueError(  # noqa: TRY004 - what was asked is wrong, not the call
                f"{name} must be set field by field, as {name}.FIELD=VALUE, got {value!r}"
            )
    result = grow(
        suited(spec["dataset"], spec["backbone"], settings),
        directories=directories or DATA_DIRECTORIES,
        output=output,
        recorder=Reporter(report),
    )
    keys = ("end", "epochs", "steps", "training_macs", "seconds")
    report("succeeded", {key: getattr(result, key) for key in keys})
