"""Tensors in the safetensors layout, as the format's own library reads them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slbi.export.load import DTYPES, read_weights
from slbi.export.tensors import write_tensors


def test_the_formats_own_library_reads_every_kind_of_number_shape_and_stride(
    tmp_path: Path,
) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(4, 3, 2, 2, generator=generator) * 10
    tensors = {name: drawn.to(dtype) for name, dtype in DTYPES.items()}
    tensors |= {
        "empty": torch.empty(0, 3),
        "single": torch.tensor(7),
        "strided": drawn.to(memory_format=torch.channels_last),
        "part": drawn[1:3, 1:],
    }

    write_tensors(tensors, tmp_path / "tensors.safetensors")

    for read in (load_file, read_weights):
        found = read(tmp_path / "tensors.safetensors")
        assert set(found) == set(tensors)
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)


def test_numbers_that_the_layout_has_no_name_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"odd must be one of .*, got torch.complex64"):
        write_tensors({"odd": torch.zeros(1, dtype=torch.complex64)}, tmp_path / "t.safetensors")
