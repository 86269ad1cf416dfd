"""Files that are either whole or absent."""

from pathlib import Path

import pytest

from slbi.export.whole import whole


def test_a_file_appears_under_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with whole(tmp_path / "net.bin") as place:
        place.write_bytes(b"half")
        assert not (tmp_path / "net.bin").exists()
        assert place.name == "net.bin"

    assert [each.name for each in tmp_path.iterdir()] == ["net.bin"]


def test_nothing_is_left_of_a_file_whose_writer_fails(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"old")

    with pytest.raises(FileNotFoundError), whole(tmp_path / "net.bin") as place:
        Path(place.parent, "elsewhere").write_bytes(b"not where it should be")

    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("net.bin", b"old")]
