"""Every fault of `python -m bench.faults`, made a few times: what must hold, holds."""

import os

import pytest

from bench.faults.fault import Fault
from bench.faults.making import made
from bench.faults.registry import faults

NOT_RUN_HERE = frozenset({"disk-upload/stack"})
"""Faults that nothing can be done to yet, wherever they are tried."""


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.key)
def test_what_must_hold_under_a_fault_holds(fault: Fault) -> None:
    row = made(fault, times=fault.few, seed=1, quick=True)
    if row.not_run is not None and fault.key not in NOT_RUN_HERE:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must be able to make every fault: {row.not_run}")
        pytest.skip(row.not_run)
    assert row.violations == ()
    assert row.times >= (0 if fault.key in NOT_RUN_HERE else 1)
