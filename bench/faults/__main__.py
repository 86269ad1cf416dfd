"""Makes faults and prints what came of them: `python -m bench.faults`.

Ends with 1 if anything did not hold.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.faults import report
from bench.faults.making import made
from bench.faults.registry import faults


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments name and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="NAME", help="by name or its beginning"
    )
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--times", type=int, help="how often each fault is made")
    parser.add_argument("--quick", action="store_true", help="as often as the tests make them")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", type=Path, help="file for a line of JSON a row")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table as the docs have it"
    )
    options = parser.parse_args(argv)
    chosen = [fault for fault in faults() if fault.key.startswith(tuple(options.only))]
    if options.list:
        for fault in chosen:
            print(f"{fault.key:34} {fault.times:6}  {fault.what}")
        return 0
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    rows = []
    for fault in chosen:
        times = options.times or (max(fault.few, 1) if options.quick else fault.times)
        rows.append(made(fault, times=times, seed=options.seed, quick=options.quick))
        print(report.line(rows[-1]), flush=True)
        for sentence in report.shortened(rows[-1].violations):
            print(f"    {sentence}", flush=True)
        if options.output is not None:
            report.write(rows, options.output)
    if options.markdown:
        print(report.markdown(rows))
    return int(any(row.violations for row in rows))


if __name__ == "__main__":
    sys.exit(main())
