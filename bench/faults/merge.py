"""Puts newly measured rows among those kept: `python -m bench.faults.merge KEPT NEW [NEW …]`.

A row takes the place of the one of its key; all stand in the order of the registry. Prints the
table as docs/reliability.md has it.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from bench.faults import report
from bench.faults.fault import Row
from bench.faults.registry import faults


def main(argv: Sequence[str] | None = None) -> int:
    """Merge the files that the arguments name, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults.merge", description=__doc__)
    parser.add_argument("kept", type=Path, help="file of rows, written anew")
    parser.add_argument("new", type=Path, nargs="+", help="files of rows, later ones winning")
    options = parser.parse_args(argv)
    rows = merged([_read(path) for path in (options.kept, *options.new)])
    report.write(rows, options.kept)
    print(report.markdown(rows))
    return 0


def merged(files: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the last row of every key, in the order of the registry.

    Raises:
        ValueError: a row is of a fault that the registry does not know.
    """
    last = {row.key: row for rows in files for row in rows}
    known = [fault.key for fault in faults()]
    unknown = [key for key in last if key not in known]
    if unknown:
        raise ValueError(f"rows must be of faults in the registry, got {', '.join(unknown)}")
    return [last[key] for key in known if key in last]


def _read(path: Path) -> list[Row]:
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    raise SystemExit(main())
