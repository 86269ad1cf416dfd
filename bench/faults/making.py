"""Makes one fault as often as asked for, and turns what came of it into a row."""

import random
import tempfile
import time
import traceback
from pathlib import Path

from bench.faults.fault import Fault, Finding, NotRunError, Row, Scope


def made(fault: Fault, *, times: int, seed: int, quick: bool) -> Row:
    """Make a fault and return its row.

    Whatever goes wrong in between is a violation: the other faults are still to be made.
    """
    begun = time.monotonic()
    finding, not_run = Finding(), None
    with tempfile.TemporaryDirectory(prefix="slbi-faults-") as folder:
        moments = random.Random(f"{seed} {fault.key}")  # noqa: S311 - moments, no secrets
        scope = Scope(times=times, quick=quick, folder=Path(folder), random=moments)
        try:
            fault.run(scope, finding)
        except NotRunError as error:
            not_run = str(error)
        except Exception as error:  # noqa: BLE001 - see above
            traceback.print_exc()
            finding.violations.append(f"the trial itself failed: {type(error).__name__}: {error}")
    return Row(
        key=fault.key,
        fault=fault.what,
        arrangement=fault.arrangement,
        times=finding.done,
        violations=tuple(finding.violations),
        measured=finding.measured(),
        seconds=time.monotonic() - begun,
        not_run=not_run,
    )
