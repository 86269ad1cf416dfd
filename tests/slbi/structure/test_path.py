import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slbi.structure.path import GrowthRecord, LayerRecord, PathList, pack, unpack


@given(st.lists(st.booleans(), max_size=70))
def test_a_support_comes_back_from_its_bytes(bits: list[bool]) -> None:
    support = torch.tensor(bits, dtype=torch.bool)
    packed = pack(support)
    assert len(packed) == -(-len(bits) // 8)
    assert torch.equal(unpack(packed, len(bits)), support)


@pytest.mark.parametrize(
    ("bits", "packed"),
    [("1", b"\x80"), ("00000001", b"\x01"), ("000000001", b"\x00\x80"), ("101", b"\xa0")],
)
def test_filter_zero_is_the_highest_bit_of_the_first_byte(bits: str, packed: bytes) -> None:
    assert pack(torch.tensor([bit == "1" for bit in bits])) == packed


@pytest.mark.parametrize("support", [torch.ones(3), torch.ones(2, 2, dtype=torch.bool)])
def test_only_a_row_of_bools_is_packed(support: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="support must be a 1-D bool tensor, got torch"):
        pack(support)


@pytest.mark.parametrize("n_filters", [0, 8, 17])
def test_bytes_of_another_length_are_refused(n_filters: int) -> None:
    with pytest.raises(ValueError, match=f"bytes for {n_filters} filters, got 2"):
        unpack(b"\x00\x00", n_filters)


def test_a_path_list_keeps_the_records_in_order() -> None:
    path = PathList()
    layers = [
        LayerRecord(index=index, name=name, kind="conv", growable=True)
        for index, name in enumerate(("conv1", "conv2"))
    ]
    path.layers(layers)
    growth = [
        GrowthRecord(
            step=10,
            round=0,
            layer=layer,
            before=8,
            after=16,
            fill=1.0,
            threshold=0.8,
            reason="full",
        )
        for layer in (1, 0)
    ]
    path.growth(growth[:1])
    path.growth(growth[1:])
    assert path.layer_records == layers
    assert path.growth_records == growth
