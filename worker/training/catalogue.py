"""What can be asked of a run, as one file that the service reads without torch.

`python -m worker.training.catalogue` writes service/catalogue.json anew.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from worker.training import backbones
from worker.training.data.sources import FOLDER_DEFAULTS, SOURCES, DataSource, Defaults
from worker.training.kinds import KINDS

VERSION = 2
"""Raised when a reader of the old file would misread the new."""
_NO_DEFAULTS = frozenset({"data", "compute", "source"})
"""Sections whose defaults stand in the spec itself, and the one that has none."""
TARGET = Path("service/catalogue.json")
"""Where the file lies in a checkout."""


def catalogue() -> dict[str, object]:
    """Return everything the file holds."""
    return {
        "version": VERSION,
        "backbones": {name: _backbone(name) for name in backbones.names()},
        "datasets": {name: _dataset(source) for name, source in SOURCES.items()},
        "folder_defaults": _defaults(FOLDER_DEFAULTS),
    }


def render() -> str:
    """Return the file's text."""
    return json.dumps(catalogue(), indent=2) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or with --check only say whether it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.catalogue")
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it differs")
    options = parser.parse_args(argv)
    text = render()
    if options.check:
        return 0 if options.target.read_text(encoding="utf-8") == text else 1
    options.target.write_text(text, encoding="utf-8")
    return 0


def _backbone(name: str) -> dict[str, object]:
    sizes = [size for size in backbones.sizes(name) if _suits(name, size)]
    unbroken = sizes == list(range(sizes[0], sizes[-1] + 1))
    standard = backbones.standard_widths(name, sizes[0])
    return {
        "groups": list(standard),
        "standard_widths": dict(standard),
        "sizes": {"min": sizes[0], "max": sizes[-1], "only": None if unbroken else sizes},
        "layers": [asdict(layer) for layer in backbones.sketch(name, sizes)],
    }


def _suits(name: str, size: int) -> bool:
    try:
        backbones.standard_widths(name, size)
    except ValueError:
        return False
    return True


def _dataset(source: DataSource) -> dict[str, object]:
    return {
        "title": source.title,
        "channels": source.channels,
        "size": source.size,
        "classes": source.classes,
        "train": source.train,
        "test": source.test,
        "files": [list(layout) for layout in source.layouts],
        "how_to_get": source.how_to_get,
        "licence": source.licence,
        "augmentation": {"flip": source.flip, "shift": source.shift, "crop": source.crop},
        "defaults": _defaults(source.defaults),
    }


def _defaults(suits: Mapping[str, Defaults]) -> Mapping[str, object]:
    """Return every default in force by kind: the kind's own, and over them what suits the data."""
    return {kind: _of_kind(kind, suits.get(kind, {})) for kind in KINDS}


def _of_kind(kind: str, suits: Defaults) -> Mapping[str, Mapping[str, object]]:
    merged = {
        name: {**KINDS[kind].default(name), **suits.get(name, {})}
        for name in KINDS[kind].sections()
        if name not in _NO_DEFAULTS
    }
    return {
        name: {key: value for key, value in values.items() if value is not None}
        for name, values in merged.items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
