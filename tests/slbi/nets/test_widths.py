import pytest

from slbi.nets.widths import Widths


def test_widths_keep_the_order_of_the_data() -> None:
    assert list(Widths({"stem": 8, "block": 4})) == ["stem", "block"]


@pytest.mark.parametrize("width", [0, -1, 1.5, True, "8"])
def test_a_width_that_is_no_number_of_filters_is_refused(width: object) -> None:
    with pytest.raises(ValueError, match="width of 'conv' must be a whole number >= 1"):
        Widths({"conv": width})  # type: ignore[dict-item] # the point of the test


def test_equal_widths_are_one_key_of_a_dictionary() -> None:
    assert {Widths({"conv": 8}): 1}[Widths({"conv": 8})] == 1


def test_replacing_leaves_the_others_and_the_original() -> None:
    widths = Widths({"conv1": 8, "conv2": 16})
    assert dict(widths.replaced({"conv2": 20})) == {"conv1": 8, "conv2": 20}
    assert widths["conv2"] == 16


def test_replacing_an_unknown_group_names_the_known() -> None:
    with pytest.raises(KeyError, match="no group 'conv9'; there are conv1"):
        Widths({"conv1": 8}).replaced({"conv9": 1})
