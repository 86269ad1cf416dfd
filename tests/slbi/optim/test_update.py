from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slbi import SLBI
from slbi.optim.shrink import group_scales
from slbi.optim.update import split_entries, split_groups
from tests.reference import Reference
from tests.replay import numpy

SHAPES = {
    "filter": (6, 3, 3, 3),
    "column": (4, 7),
    "element": (5, 4),
    None: (3, 4),
}


@st.composite
def settings_of_a_group(draw: st.DrawFn) -> dict[str, Any]:
    """Options of one group, anywhere in their ranges, that the optimizer takes."""
    structure = draw(st.sampled_from(list(SHAPES)))
    momentum = draw(st.sampled_from([0.0, 0.5, 0.9]))
    nesterov = momentum > 0 and draw(st.booleans())
    return {
        "structure": structure,
        "kappa": draw(st.floats(0.1, 5.0)),
        "mu": draw(st.floats(2.0, 50.0)),
        "momentum": momentum,
        "nesterov": nesterov,
        "dampening": 0.0 if nesterov else draw(st.sampled_from([0.0, 0.3])),
        "weight_decay": draw(st.sampled_from([0.0, 1e-2])),
        "threshold": draw(st.sampled_from([0.05, 0.3, 1.0])),
        "scaling": draw(st.sampled_from(["none", "fan"])),
        "decay_first": draw(st.booleans()),
        "normalised": structure in {"element", None} and draw(st.booleans()),
    }


@given(settings_of_a_group(), st.integers(0, 2**31))
@settings(deadline=None, max_examples=200)
def test_every_setting_agrees_with_the_slow_reference(options: dict[str, Any], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = SHAPES[options["structure"]]
    weight = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    slow = Reference(w=numpy(weight), **options)
    optimizer = SLBI([{"params": [weight], **options}], lr=0.3)
    for _ in range(12):
        grad = torch.randn(shape, generator=generator, dtype=torch.float64)
        weight.grad = grad.clone()
        optimizer.step()
        slow.step(grad.numpy(), 0.3)
        np.testing.assert_allclose(numpy(weight), slow.w, rtol=1e-9, atol=1e-10)
        if options["structure"] is not None:
            np.testing.assert_allclose(numpy(optimizer.z(weight)), slow.z, rtol=1e-9, atol=1e-10)
            gamma = numpy(optimizer.gamma(weight))
            np.testing.assert_allclose(gamma, slow.gamma, rtol=1e-8, atol=1e-9)


def random_state(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    w, z, direction = (torch.randn(shape, generator=generator) for _ in range(3))
    return w, z, direction


def test_the_sum_of_weight_and_accumulator_moves_by_the_gradient_alone() -> None:
    w, z, direction = random_state((6, 3, 3, 3))
    expected = w + 2.0 * z - 0.1 * 2.0 * direction
    scales = group_scales([z], "filter", 1.0, "none")
    split_groups([w], [z], [direction], scales, lr=0.1, kappa=2.0, mu=3.0)
    torch.testing.assert_close(w + 2.0 * z, expected)
    w, z, direction = random_state((6, 5))
    expected = w + 2.0 * z - 0.1 * 2.0 * direction
    split_entries([w], [z], [direction], lr=0.1, kappa=2.0, mu=3.0, threshold=0.5)
    torch.testing.assert_close(w + 2.0 * z, expected)


def test_an_unselected_weight_is_pulled_towards_zero() -> None:
    w, z, direction = torch.ones(4, 3), torch.zeros(4, 3), torch.zeros(4, 3)
    scales = group_scales([z], "filter", 1.0, "none")
    split_groups([w], [z], [direction], scales, lr=0.5, kappa=1.0, mu=10.0)
    torch.testing.assert_close(w, torch.full((4, 3), 0.95))
    torch.testing.assert_close(z, torch.full((4, 3), 0.05))


def test_the_directions_are_left_as_they_were() -> None:
    w, z, direction = random_state((4, 3))
    before = direction.clone()
    scales = group_scales([z], "column", 1.0, "none")
    split_groups([w], [z], [direction], scales, lr=0.5, kappa=1.0, mu=10.0)
    split_entries([w], [z], [direction], lr=0.5, kappa=1.0, mu=10.0, threshold=1.0)
    assert torch.equal(direction, before)


def test_in_float32_the_twin_costs_the_weight_no_more_than_rounding() -> None:
    w, z, direction = random_state((8, 16, 3, 3))
    w, z = 0.05 * w, 0.1 * z
    exact_w, exact_z = w.double(), z.double()
    for _ in range(100):
        for ws, zs, d in ((w, z, direction), (exact_w, exact_z, direction.double())):
            scales = group_scales([zs], "filter", 1.0, "none")
            split_groups([ws], [zs], [d], scales, lr=1e-4, kappa=1.0, mu=0.1)
    torch.testing.assert_close(w.double(), exact_w, rtol=0, atol=2e-6)
    torch.testing.assert_close(z.double(), exact_z, rtol=0, atol=2e-6)
