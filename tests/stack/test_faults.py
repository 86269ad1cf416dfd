"""Every fault of `python -m bench.faults` in its reduced form: what must hold, holds."""

import os

import pytest

from bench.faults.fault import Fault
from bench.faults.making import made
from bench.faults.registry import faults

FEW = tuple(fault for fault in faults() if fault.few)
"""What the tests make; the benchmark makes some in another arrangement too."""


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.parametrize("fault", FEW, ids=lambda fault: fault.key)
def test_what_must_hold_under_a_fault_holds(fault: Fault) -> None:
    row = made(fault, times=fault.few, seed=1, quick=True)
    if row.not_run is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must be able to make every fault: {row.not_run}")
        pytest.skip(row.not_run)
    assert row.violations == ()
    assert row.times >= 1
