"""What a job found out, as people read it; what is not known here is shown as it came."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from service.cli.output import MISSING, console, count, print_table, share

_ACCURACY = "accuracy"
_LAYERS, _ARMS, _EXPORTS = "layers", "arms", "exports"
_TABLES = (_ARMS, _LAYERS, _EXPORTS)
_COUNTS = ("params", "macs")


def print_findings(findings: Mapping[str, Any]) -> None:
    """Print a line a finding, then the tables: a ticket's arms, exports, kept shares of layers."""
    screen = console()
    lines = dict(_lines(findings))
    width = max((len(label) for label in lines), default=0)
    for label, said in lines.items():
        screen.print(f"{label:<{width}}  {said}", markup=False)
    if arms := findings.get(_ARMS):
        print_table(
            ["trained", "data set", "validation", "MACs", "params"],
            [
                [
                    str(row["arm"]),
                    str(row["dataset"]),
                    share(row["validation_accuracy"]),
                    count(row["macs"]),
                    count(row["params"]),
                ]
                for row in arms
            ],
            right=["validation", "MACs", "params"],
        )
    if exports := findings.get(_EXPORTS):
        print_table(
            ["file", "format", "bytes", "differs by", "run by"],
            [
                [
                    str(row["title"]),
                    str(row["format"]),
                    count(row["bytes"]),
                    MISSING if row["difference"] is None else f"{row['difference']:.1e}",
                    row["checked_by"] or MISSING,
                ]
                for row in exports
            ],
            right=["bytes", "differs by"],
        )
    if layers := findings.get(_LAYERS):
        print_table(
            ["layer", "of", "kept", "share"],
            [
                [str(row["layer"]), count(row["total"]), count(row["kept"]), _share_of(row)]
                for row in layers
            ],
            right=["of", "kept", "share"],
        )


def _lines(findings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is no table: a label, and what is said of it."""
    for name, value in findings.items():
        if name == _ACCURACY and isinstance(value, Mapping):
            for when, accuracy in value.items():
                yield f"accuracy, {when}", share(accuracy)
        elif name not in _TABLES:
            yield name.replace("_", " "), count(value) if name in _COUNTS else _said(value)


def _said(value: object) -> str:
    """Return a value as people read it: texts and numbers as they are, anything else as JSON."""
    if not value and isinstance(value, list | dict):
        return MISSING
    parts = value if isinstance(value, list) else [value]
    if all(isinstance(part, str) for part in parts):
        return ", ".join(str(part) for part in parts)
    if all(isinstance(part, int | float) for part in parts):
        return " ".join(f"{part:.4g}" for part in parts)
    return json.dumps(value, ensure_ascii=False)


def _share_of(row: Mapping[str, Any]) -> str:
    return share(row["kept"] / row["total"]) if row["total"] else MISSING
