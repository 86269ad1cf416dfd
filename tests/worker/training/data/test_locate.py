from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worker.training.data.locate import (
    DatasetAbsentError,
    DatasetError,
    check_name,
    find_files,
    find_folder,
)
from worker.training.data.sources import SOURCES


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", "a\\b", "a..b", ".hidden", "-x", "Capital", "a b", "a" * 65, "a\n"]
)
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(DatasetError, match="data set's name must be"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "my-set_2.1", "9lives"])
def test_a_plain_name_is_taken(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"digits"}))
def test_an_absent_data_set_says_where_it_was_looked_for_and_how_to_get_it(
    tmp_path: Path, name: str
) -> None:
    source = SOURCES[name]
    with pytest.raises(DatasetAbsentError) as absence:
        find_files(source, [tmp_path / "a", tmp_path / "b"])
    assert f"looked in {tmp_path / 'a'}, {tmp_path / 'b'}" in str(absence.value)
    assert source.how_to_get in str(absence.value)
    assert source.layouts[0][0] in str(absence.value)


def test_an_absent_folder_says_how_to_lay_the_images_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetAbsentError, match="train/<class>/") as absence:
        find_folder("mine", [tmp_path])
    assert str(tmp_path) in str(absence.value)


@pytest.mark.parametrize("layout", range(4))
def test_every_layout_is_found(
    write_idx: Callable[..., np.ndarray], tmp_path: Path, layout: int
) -> None:
    names = SOURCES["fashion-mnist"].layouts[layout]
    write_idx(str(Path(names[0]).parent), compressed=names[0].endswith(".gz"))
    found = find_files(SOURCES["fashion-mnist"], [tmp_path / "elsewhere", tmp_path])
    assert found == tuple((tmp_path / name).resolve() for name in names)


def test_an_incomplete_layout_is_absent(
    write_idx: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    write_idx("mnist", compressed=False)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DatasetAbsentError):
        find_files(SOURCES["mnist"], [tmp_path])


def test_the_first_directory_wins(write_images: Callable[..., None], tmp_path: Path) -> None:
    write_images("first/mine")
    write_images("second/mine")
    folder, directory = find_folder("mine", [tmp_path / "first", tmp_path / "second"])
    assert folder == (tmp_path / "first" / "mine").resolve()
    assert directory == tmp_path / "first"


def test_a_link_out_of_the_directory_is_refused(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("secret")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").symlink_to(tmp_path / "secret")
    with pytest.raises(DatasetError, match="must stay inside"):
        find_folder("mine", [tmp_path / "data"])


def test_a_file_that_is_a_link_out_of_the_directory_is_refused(
    write_idx: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    write_idx("mnist", compressed=False)
    directory = tmp_path / "data"
    (directory / "mnist").mkdir(parents=True)
    for file in (tmp_path / "mnist").iterdir():
        (directory / "mnist" / file.name).symlink_to(file)
    with pytest.raises(DatasetError, match="must stay inside"):
        find_files(SOURCES["mnist"], [directory])
