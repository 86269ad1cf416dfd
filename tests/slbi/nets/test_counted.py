import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torchvision.models.convnext import LayerNorm2d

from slbi.nets.counted import CountedLayerNorm, counting, settle


def _norm(axis: int, dtype: torch.dtype = torch.float64) -> CountedLayerNorm:
    norm = CountedLayerNorm(6, axis=axis).to(dtype)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5, generator=generator)
        norm.bias.normal_(generator=generator)
    return norm


def _input(axis: int, dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.randn(2, 3, 4, 6, dtype=dtype, generator=torch.Generator().manual_seed(1))
    return x.movedim(-1, axis)


@pytest.mark.parametrize("axis", [-1, -3])
def test_while_all_filters_count_it_is_a_layer_norm(axis: int) -> None:
    norm, x = _norm(axis), _input(axis)
    plain = layer_norm(x.movedim(axis, -1), (6,), norm.weight, norm.bias).movedim(-1, axis)
    torch.testing.assert_close(norm(x), plain, rtol=0, atol=1e-13)


@pytest.mark.parametrize("axis", [-1, -3])
def test_a_filter_that_does_not_count_changes_no_other_and_is_normalised_like_them(
    axis: int,
) -> None:
    norm, x = _norm(axis), _input(axis).movedim(axis, -1)
    norm.counted[4:] = False
    made = norm(x.movedim(-1, axis)).movedim(axis, -1)
    alone = layer_norm(x[..., :4], (4,), norm.weight[:4], norm.bias[:4])
    torch.testing.assert_close(made[..., :4], alone, rtol=0, atol=1e-13)
    deviation = (x[..., :4].var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
    normal = (x[..., 4:] - x[..., :4].mean(-1, keepdim=True)) / deviation
    torch.testing.assert_close(
        made[..., 4:], normal * norm.weight[4:] + norm.bias[4:], rtol=0, atol=1e-13
    )


def test_no_gradient_reaches_the_statistic_from_a_filter_that_does_not_count() -> None:
    norm, x = _norm(-1), _input(-1).requires_grad_()
    norm.counted[5] = False
    norm(x)[..., :5].square().sum().backward()
    assert x.grad is not None
    assert not x.grad[..., 5].any()
    assert x.grad[..., :5].all()


def test_statistics_of_half_precision_are_taken_in_float32() -> None:
    norm = _norm(-1, torch.bfloat16)
    x = _input(-1, torch.bfloat16) + 100
    exact = _norm(-1, torch.float32)
    exact.load_state_dict(norm.state_dict())
    made = norm(x)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), exact(x.float()), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("kind", "axis"), [(nn.LayerNorm, -1), (LayerNorm2d, -3)])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False}])
def test_a_norm_is_taken_over_with_its_parameters_flags_and_hooks(
    kind: type[nn.LayerNorm], axis: int, options: dict[str, bool]
) -> None:
    norm = kind(6, eps=1e-3, **options).double().eval()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    heard: list[int] = []
    norm.register_forward_hook(lambda *_: heard.append(1))
    made = counting(norm)
    assert made is not None
    assert made.axis == axis
    assert not made.training
    assert dict(made.named_parameters()).keys() == dict(norm.named_parameters()).keys()
    assert all(made.get_parameter(name) is own for name, own in norm.named_parameters())
    assert "counted" not in norm.state_dict()
    x = _input(axis)
    torch.testing.assert_close(made(x), norm(x), rtol=0, atol=1e-13)
    assert heard == [1, 1]


def test_a_norm_without_data_is_taken_over_without_any() -> None:
    with torch.device("meta"):
        norm = LayerNorm2d(6)
    made = counting(norm)
    assert made is not None
    assert made.axis == -3
    assert made.counted.is_meta


class _Doubled(nn.LayerNorm):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        return 2 * super().forward(input)


def test_a_norm_that_computes_something_else_is_not_taken_over() -> None:
    assert counting(_Doubled(6)) is None
    assert counting(nn.LayerNorm((6, 4, 4))) is None


def test_removed_filters_no_longer_count_and_if_none_is_left_that_does_all_left_count() -> None:
    counted = torch.tensor([1, 1, 0, 0]).bool()
    settle(counted, removed=torch.tensor([1, 0, 0, 0]).bool())
    assert counted.tolist() == [False, True, False, False]
    settle(counted, removed=torch.tensor([1, 1, 0, 0]).bool())
    assert counted.tolist() == [False, False, True, True]
    gone = torch.tensor([0, 0]).bool()
    settle(gone)
    assert gone.all()
