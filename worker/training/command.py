"""What the local commands run: the method on this machine, without any service."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.training.checkpoint import load
from worker.training.launch import run as conduct
from worker.training.plans import Source
from worker.training.pretrained import tells
from worker.training.recipes.conduct import Surroundings
from worker.training.report import Report, Reporter
from worker.training.suit import suited

DATA_DIRECTORIES = (Path("data"), Path("/usr/share/datasets"))
"""Where data sets are looked for by default: here, and where Debian's packages put them."""

_NAMES = frozenset({"dataset", "backbone"})
_ALONE = frozenset({"widths", "rivals", "transfer_to", "start"})
"""Fields of a spec that are no section."""


def run(
    kind: str,
    spec: Mapping[str, Any],
    *,
    directories: Sequence[Path],
    output: Path,
    report: Report,
    source: Path | None = None,
    order: Path | None = None,
) -> None:
    """Run a kind and report every record of it, at the end `succeeded` with what came of it.

    The entry point `run` of the group `slbi.worker`.

    Args:
        kind: one of `worker.training.kinds`.
        spec: "dataset", "backbone" and, by section, whatever differs from what suits the data set.
            What is left out is, where there is a source, what that says of itself.
        directories: where data sets lie, searched in order; none for the default ones.
        output: folder of the files.
        report: takes the records.
        source: checkpoint of the network that the run starts from, for kinds that start from one.
        order: file with the entry order of single weights that was made with it.

    Raises:
        ValueError: the spec is not valid, or the data set cannot be used.
        ArithmeticError: training diverged.
    """
    if source is not None:
        spec = _told(source, spec)
    settings = {name: value for name, value in spec.items() if name not in _NAMES}
    for name, value in settings.items():
        if not isinstance(value, Mapping) and name not in _ALONE:
            raise ValueError(
                f"{name} must be set field by field, as {name}.FIELD=VALUE, got {value!r}"
            )
    if source is not None:
        settings["source"] = Source(checkpoint=source, order=order, local=True)
    result = conduct(
        suited(spec["dataset"], spec["backbone"], settings, kind),
        Surroundings(
            directories=directories or DATA_DIRECTORIES,
            output=output,
            recorder=Reporter(report),
        ),
    )
    keys = ("end", "epochs", "steps", "training_macs", "seconds")
    report("succeeded", {key: getattr(result, key) for key in keys})


def _told(source: Path, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a spec in which what is left out is what a checkpoint says of itself.

    Images of another size its network does not take, and it must not be judged by images that it
    has learnt from.

    Raises:
        ValueError: it names no data set or backbone, and the file none either.
    """
    told: dict[str, Any] = {}
    if tells(source):
        _, about = load(source)
        data, compute = about.config["data"], about.config["compute"]
        told = {
            "dataset": about.dataset,
            "backbone": about.backbone,
            "data": {name: data[name] for name in ("image_size", "validation")},
            "compute": {"seed": compute["seed"]},
        }
    missing = [name for name in sorted(_NAMES) if name not in {**told, **spec}]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be given, {source} does not tell")
    sections = {
        name: {**value, **spec.get(name, {})}
        for name, value in told.items()
        if name not in _NAMES and isinstance(spec.get(name, {}), Mapping)
    }
    return {**told, **spec, **sections}
