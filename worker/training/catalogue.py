"""What can be asked of a run, as one file that the service reads without torch.

`python -m worker.training.catalogue` writes service/catalogue.json anew.
"""

import argparse
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from slbi.nets.sketch import CHANNELS, CLASSES, Form, Layer, Outline, cost
from worker.training import backbones
from worker.training.data.sources import FOLDER_DEFAULTS, SOURCES, DataSource, Defaults
from worker.training.kinds import KINDS

VERSION = 3
"""Raised when a reader of the old file would misread the new."""
_NO_DEFAULTS = frozenset({"data", "compute", "source"})
"""Sections whose defaults stand in the spec itself, and the one that has none."""
TARGET = Path("service/catalogue.json")
"""Where the file lies in a checkout."""

Facts = Mapping[str, Any]


def catalogue() -> dict[str, object]:
    """Return everything the file holds. As many processes as there are cores work on it."""
    # Not forked: torch may have threads.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        found = list(pool.map(backbone, backbones.names()))
    return {**facts(), "backbones": dict(zip(backbones.names(), found, strict=True))}


def facts() -> dict[str, object]:
    """Return what the file holds but for the networks."""
    return {
        "version": VERSION,
        "datasets": {name: _dataset(source) for name, source in SOURCES.items()},
        "folder_defaults": _defaults(FOLDER_DEFAULTS),
    }


def render(whole: Mapping[str, object]) -> str:
    """Return the file's text: of each network one line, for they are long."""
    others = {key: value for key, value in whole.items() if key != "backbones"}
    head = json.dumps(others, indent=2).removesuffix("\n}")
    networks = whole["backbones"]
    lines = ",\n".join(
        f"    {json.dumps(name)}: {line(each)}"
        for name, each in (networks.items() if isinstance(networks, Mapping) else ())
    )
    return f'{head},\n  "backbones": {{\n{lines}\n  }}\n}}\n'


def line(network: Facts) -> str:
    """Return a network's line in the file."""
    return json.dumps(network, separators=(",", ":"))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or with --check only say whether it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.catalogue")
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it differs")
    options = parser.parse_args(argv)
    text = render(catalogue())
    if options.check:
        return 0 if options.target.read_text(encoding="utf-8") == text else 1
    options.target.write_text(text, encoding="utf-8")
    return 0


def backbone(name: str) -> Facts:
    """Return what the file holds of one network."""
    sizes = {stem: backbones.sizes(name, stem) for stem in backbones.stems(name)}
    outlines = {stem: backbones.outline(name, sides, stem) for stem, sides in sizes.items()}
    largest = sizes["standard"][-1]
    standard = backbones.standard_widths(name, largest)
    params, macs = cost(outlines["standard"], standard, in_channels=3, size=largest, classes=1000)
    return {
        "published": {"size": largest, "params": params, "macs": macs},
        "standard_widths": dict(standard),
        "fixed": backbones.fixed(name),
        "stems": {
            stem: {
                "sizes": _sides(sides),
                **_outlined(outlines[stem], tuple(standard), sides),
            }
            for stem, sides in sizes.items()
        },
    }


def _sides(sizes: Sequence[int]) -> Facts:
    first, last = sizes[0], sizes[-1]
    unbroken = list(sizes) == list(range(first, last + 1))
    return {"min": first, "max": last, "only": None if unbroken else list(sizes)}


def _outlined(outline: Outline, groups: Sequence[str], sizes: Sequence[int]) -> Facts:
    """Return an outline in few bytes; `service.catalogue` reads it.

    A form is its constant and then, for each term, the number of its group and what it adds; -1
    stands for channels, -2 for classes. Layers that are used equally often share a list.
    """
    numbers = {group: index for index, group in enumerate(groups)}
    numbers |= {CHANNELS: -1, CLASSES: -2}

    def short(form: Form) -> list[int]:
        return [form.constant, *chain.from_iterable((numbers[g], each) for g, each in form.terms)]

    used = [_positions(layer, sizes) for layer in outline.layers]
    shared = list(dict.fromkeys(used))
    return {
        "positions": [at if isinstance(at, str) else list(at) for at in shared],
        "layers": [
            [
                layer.name, layer.kind[0], short(layer.makes), short(layer.reads),
                shared.index(at), int(layer.called),
            ]
            for layer, at in zip(outline.layers, used, strict=True)
        ],
        "rest": short(outline.rest),
        "beside": {
            size: [beside.params, beside.macs, beside.activations]
            for size, beside in outline.beside.items()
        },
    }  # fmt: skip


def _positions(layer: Layer, sizes: Iterable[int]) -> str | tuple[int, ...]:
    if layer.positions is None:
        return layer.shrinks
    return tuple(layer.positions[size] for size in sizes)


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
