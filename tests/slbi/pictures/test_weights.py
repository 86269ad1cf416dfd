import pytest
import torch

from slbi.pictures.weights import weight_images


def values(images: torch.Tensor) -> set[float]:
    return set(images.flatten().tolist())


def weight(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 1, 5, 5), (6, 5, 5)),
        ((6, 3, 5, 5), (6, 3, 5, 5)),
        ((6, 16, 5, 5), (6, 5, 5)),
        ((6, 2, 7), (6, 1, 7)),
        ((6, 3), (6, 1, 3)),
    ],
)
def test_a_layer_becomes_one_image_a_filter(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    images = weight_images(weight(*shape))
    assert images.shape == expected
    assert 0 <= images.min() <= images.max() <= 1


def test_zero_is_the_middle_grey_where_weights_have_a_sign() -> None:
    single = torch.tensor([[[[0.0, 2.0], [-2.0, 1.0]]]])
    expected = torch.tensor([[[0.5, 1.0], [0.0, 0.75]]])
    torch.testing.assert_close(weight_images(single), expected)


def test_deep_filters_show_their_root_mean_square_in_which_signs_do_not_cancel() -> None:
    opposed = torch.zeros(1, 4, 1, 2)
    opposed[0, :, 0, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    opposed[0, :, 0, 1] = 0.5
    torch.testing.assert_close(weight_images(opposed), torch.tensor([[[1.0, 0.5]]]))
    mean = weight_images(opposed, channels="mean")
    torch.testing.assert_close(mean, torch.tensor([[[0.5, 1.0]]]))


def test_one_scale_for_the_layer_keeps_strengths_comparable() -> None:
    two = torch.stack([torch.ones(1, 2, 2), torch.full((1, 2, 2), 0.5)])
    assert values(weight_images(two)[1]) == {1.0}
    assert values(weight_images(two, over="layer")[1]) == {0.75}


@pytest.mark.parametrize(("channels", "grey"), [(1, 0.5), (3, 0.5), (8, 0.0)])
def test_a_filter_of_zeros_is_flat_and_no_nan(channels: int, grey: float) -> None:
    assert values(weight_images(torch.zeros(2, channels, 3, 3))) == {grey}


def test_the_weight_is_left_alone() -> None:
    given = weight(4, 8, 3, 3)
    before = given.clone()
    weight_images(given)
    assert torch.equal(given, before)


def test_what_is_no_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weight must be .* got shape \(3,\)"):
        weight_images(torch.ones(3))
    with pytest.raises(ValueError, match="weight must be finite"):
        weight_images(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match="channels must be one of auto, rms, mean, got 'max'"):
        weight_images(torch.ones(2, 2), channels="max")  # type: ignore[arg-type]
