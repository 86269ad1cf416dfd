"""The trajectories of the reference implementation, and the slow reference that judges ours."""

import numpy as np
import pytest

from tests.reference import Array, Reference
from tests.replay import CASES, Case, numpy


def assert_close(ours: Array, golden: Array | None) -> None:
    assert golden is not None
    np.testing.assert_allclose(ours, golden, rtol=1e-9, atol=1e-10)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_all_nine_cases_are_here() -> None:
    assert len(CASES) == 9


def test_every_weight_follows_the_golden_trajectory(case: Case) -> None:
    for step, _, parameters in case.replay():
        for name, parameter in parameters.items():
            assert_close(numpy(parameter), case.golden("W", name, step))


def test_every_twin_follows_the_golden_trajectory(case: Case) -> None:
    for step, optimizer, parameters in case.replay():
        for name in case.twins:
            assert_close(numpy(optimizer.z(parameters[name])), case.golden("Z", name, step))
            assert_close(numpy(optimizer.gamma(parameters[name])), case.golden("Gamma", name, step))


def test_the_support_is_the_golden_one_at_every_step(case: Case) -> None:
    entered = 0
    for step, optimizer, parameters in case.replay():
        for name in case.twins:
            golden = case.golden("Gamma", name, step)
            assert golden is not None
            nonzero = golden != 0
            assert np.array_equal(numpy(optimizer.gamma(parameters[name])) != 0, nonzero)
            if case.structure(name) == "filter":
                nonzero = nonzero.any(axis=(1, 2, 3))
            support = optimizer.support(parameters[name]).numpy()
            assert np.array_equal(support, nonzero)
            entered += int(support.sum())
    assert entered > 0


def test_every_velocity_follows_the_golden_trajectory(case: Case) -> None:
    for step, optimizer, parameters in case.replay():
        for name, parameter in parameters.items():
            golden = case.golden("M", name, step)
            state = optimizer.state[parameter]
            assert ("momentum_buffer" in state) == (golden is not None)
            if golden is not None:
                assert_close(numpy(state["momentum_buffer"]), golden)


def test_the_slow_reference_follows_the_golden_trajectory(case: Case) -> None:
    for name in case.names:
        slow = Reference(w=case.arrays[f"W0/{name}"], **case.options(name))
        for step in range(case.steps):
            slow.step(case.arrays[f"grad/{name}"][step], case.lr(step))
            assert_close(slow.w, case.golden("W", name, step))
            if name in case.twins:
                assert_close(slow.z, case.golden("Z", name, step))
                assert_close(slow.gamma, case.golden("Gamma", name, step))


def test_a_zero_filter_stays_zero_without_nan() -> None:
    case = Case("o6_path_k1_mu20_m0_wd0")
    for _, optimizer, parameters in case.replay():
        weight = parameters["conv1.weight"]
        assert not optimizer.z(weight)[2].any()
        assert not optimizer.gamma(weight).isnan().any()
        assert not optimizer.support(weight)[2]
