"""The results of the reference's toolbox, through the calls that it has there."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slbi.structure.order import NEVER, REFERENCE_NEVER
from slbi.toolbox import SLBI_ToolBox, Toolbox
from tests.reference import Array
from tests.replay import BASE_CASES, GOLDEN, Case, numpy

Runs = list[dict[str, Any]]


def toolbox_of(case: Case) -> Toolbox:
    """The three-line start of the reference."""
    parameters = [
        nn.Parameter(torch.from_numpy(case.arrays[f"W0/{name}"].copy())) for name in case.names
    ]
    optimizer = SLBI_ToolBox(parameters, **case.hyper)
    optimizer.assign_name(case.names)
    optimizer.initialize_slbi(case.twins)
    return optimizer


def replay(case: Case, optimizer: Toolbox) -> Iterator[tuple[int, int | None]]:
    """Yield each step from 0, and the epoch that it ended; its order is then up to date."""
    for step in range(case.steps):
        for group in optimizer.param_groups:
            group["lr"] = case.lr(step)
        for name, parameter in optimizer.named().items():
            parameter.grad = torch.from_numpy(case.arrays[f"grad/{name}"][step].copy())
        optimizer.step()
        epoch, rest = divmod(step + 1, case.epoch_len)
        if rest == 0:
            optimizer.update_prune_order(epoch - 1)
        yield step, epoch - 1 if rest == 0 else None


def trained(case: Case) -> Toolbox:
    optimizer = toolbox_of(case)
    for _ in replay(case, optimizer):
        pass
    return optimizer


def runs(case: str) -> Runs:
    """Return what was pruned in a case."""
    with np.load(GOLDEN / f"{case}.npz") as file:
        found: Runs = json.loads(str(file["meta"]))["prune_runs"]
        return found


def assert_close(ours: Array, golden: Array | None) -> None:
    assert golden is not None
    np.testing.assert_allclose(ours, golden, rtol=1e-9, atol=1e-10)


@pytest.fixture(params=BASE_CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture(params=[(case, run) for case in BASE_CASES for run in runs(case)])
def pruned(request: pytest.FixtureRequest) -> tuple[Case, dict[str, Any]]:
    name, run = request.param
    return Case(name), run


def test_every_trajectory_is_the_golden_one(case: Case) -> None:
    optimizer = toolbox_of(case)
    for step, _ in replay(case, optimizer):
        for name, parameter in optimizer.named().items():
            assert_close(numpy(parameter), case.golden("W", name, step))
            velocity = case.golden("M", name, step)
            if velocity is not None:
                assert_close(numpy(optimizer.state[parameter]["momentum_buffer"]), velocity)
        for name, weight in optimizer.twins().items():
            gamma = case.golden("Gamma", name, step)
            assert gamma is not None
            assert_close(numpy(optimizer.z(weight)), case.golden("Z", name, step))
            assert_close(numpy(optimizer.gamma(weight)), gamma)
            assert np.array_equal(numpy(optimizer.gamma(weight)) != 0, gamma != 0)


def test_every_order_is_the_golden_one(case: Case) -> None:
    optimizer = toolbox_of(case)
    for _, epoch in replay(case, optimizer):
        if epoch is None:
            continue
        for name in case.twins:
            assert_close(
                numpy(optimizer.prune_order(name)), case.golden("prune_order", name, epoch)
            )
            record = case.golden("epoch_record", name, epoch)
            assert record is not None
            entry = optimizer.entry(name)
            if entry.ndim == 1:
                record = record.reshape(len(record), -1).min(axis=1)
            entry[entry == NEVER] = REFERENCE_NEVER
            assert np.array_equal(entry.numpy(), record)


def test_w_star_proportion_and_residue_are_the_golden_ones(case: Case) -> None:
    optimizer = trained(case)
    for name, on_the_support in optimizer.calculate_all_w_star().items():
        assert_close(numpy(on_the_support), case.arrays[f"w_star/{name}"])
        if f"proportion/{name}" in case.arrays:
            share = float(case.arrays[f"proportion/{name}"])
            assert optimizer.calculate_proportion(name) == pytest.approx(share)
    assert optimizer.calculate_all_residue() == pytest.approx(
        float(case.arrays["residue_all"]), rel=1e-9
    )


def test_using_w_star_is_undone_by_recovering(case: Case) -> None:
    optimizer = trained(case)
    optimizer.use_w_star()
    for name in case.twins:
        assert_close(numpy(optimizer.named()[name]), case.arrays[f"w_star/{name}"])
    optimizer.recover()
    for name, parameter in optimizer.named().items():
        assert_close(numpy(parameter), case.golden("W", name, -1))


def test_every_prune_is_the_golden_one_and_undone(pruned: tuple[Case, dict[str, Any]]) -> None:
    case, run = pruned
    optimizer = trained(case)
    before = {name: numpy(parameter) for name, parameter in optimizer.named().items()}
    if run["kind"] == "by_list":
        optimizer.prune_layer_by_order_by_list(run["percent"], run["layers"], run["prune_bias"])
    else:
        (layer,) = run["layers"]
        optimizer.prune_layer_by_order_by_name(run["percent"], layer, run["prune_bias"])
    for name, parameter in optimizer.named().items():
        golden = case.arrays.get(f"{run['tag']}/{name}", case.golden("W", name, -1))
        assert golden is not None
        assert_close(numpy(parameter), golden)
        assert np.array_equal(numpy(parameter) == 0, golden == 0)
    optimizer.recover()
    for name, parameter in optimizer.named().items():
        assert np.array_equal(numpy(parameter), before[name])


def test_all_prunes_of_the_golden_data_are_here() -> None:
    assert [len(runs(case)) for case in BASE_CASES] == [11] * 6
