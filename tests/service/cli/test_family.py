import json
from pathlib import Path

import pytest

from service.cli.family import describe


def _file(path: Path, header: object) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    return path


def test_a_description_is_read_from_the_header(tmp_path: Path) -> None:
    described = {"backbone": "vgg11", "widths": {"conv1": 8}}
    header = {
        "__metadata__": {"slbi": json.dumps(described)},
        "w": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]},
    }
    assert describe(_file(tmp_path / "net.safetensors", header)) == described


@pytest.mark.parametrize("header", [{}, {"__metadata__": {}}, {"__metadata__": {"slbi": "{"}}])
def test_a_header_without_a_description_is_refused(tmp_path: Path, header: object) -> None:
    with pytest.raises(ValueError, match="must carry a description"):
        describe(_file(tmp_path / "net.safetensors", header))


def test_a_file_of_another_kind_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "net.zip").write_bytes(b"PK\x03\x04" + b"\xff" * 100)
    for file in (tmp_path / "net.zip", _file(tmp_path / "net.safetensors", [])):
        with pytest.raises(ValueError, match="must be a safetensors file"):
            describe(file)
