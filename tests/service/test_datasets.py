from pathlib import Path

import pytest

from service.catalogue import Catalogue
from service.datasets import find_dataset, list_datasets


def _images(folder: Path, count: int, suffix: str = ".png") -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}{suffix}").touch()


def test_a_known_data_set_is_present_with_all_files_of_one_layout(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    for layout in catalogue.datasets["fashion-mnist"].layouts:
        place = tmp_path / layout[0].replace("/", "_")
        for file in layout:
            found = find_dataset("fashion-mnist", catalogue, (tmp_path, place))
            assert found is not None
            assert not found.present
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).touch()
        found = find_dataset("fashion-mnist", catalogue, (tmp_path / "none", place))
        assert found is not None
        assert found.present


def test_a_folder_of_images_is_counted_by_class(tmp_path: Path, catalogue: Catalogue) -> None:
    _images(tmp_path / "pets" / "train" / "cat", 3)
    _images(tmp_path / "pets" / "train" / "dog", 2, ".JPEG")
    _images(tmp_path / "pets" / "test" / "cat", 1)
    (tmp_path / "pets" / "train" / "dog" / "notes.txt").touch()
    found = find_dataset("pets", catalogue, (tmp_path,))
    assert found is not None
    assert (found.kind, found.classes, found.train, found.test) == ("folder", 2, 5, 1)
    assert found.defaults == catalogue.folder_defaults


def test_a_folder_without_a_split_is_all_training_images(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    _images(tmp_path / "pets" / "cat", 3)
    _images(tmp_path / "pets" / "dog", 2)
    found = find_dataset("pets", catalogue, (tmp_path,))
    assert found is not None
    assert (found.train, found.test) == (5, None)


def test_images_that_are_added_are_counted(tmp_path: Path, catalogue: Catalogue) -> None:
    _images(tmp_path / "pets" / "cat", 3)
    _images(tmp_path / "pets" / "dog", 2)
    before = find_dataset("pets", catalogue, (tmp_path,))
    (tmp_path / "pets" / "dog" / "late.png").touch()
    after = find_dataset("pets", catalogue, (tmp_path,))
    assert before is not None
    assert after is not None
    assert (before.train, after.train) == (5, 6)


def test_the_first_directory_wins_and_each_name_is_listed_once(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    for directory, count in (("a", 1), ("b", 7)):
        _images(tmp_path / directory / "pets" / "cat", count)
        _images(tmp_path / directory / "pets" / "dog", count)
    found = list_datasets(catalogue, (tmp_path / "a", tmp_path / "b", tmp_path / "none"))
    assert [each.train for each in found if each.kind == "folder"] == [2]
    assert [each.name for each in found][:-1] == list(catalogue.datasets)


@pytest.mark.parametrize("name", ["..", ".", "a/../pets", "Pets", "", "link", "one", "empty"])
def test_nothing_else_is_a_data_set(tmp_path: Path, catalogue: Catalogue, name: str) -> None:
    outside = tmp_path / "outside"
    _images(outside / "cat", 1)
    _images(outside / "dog", 1)
    inside = tmp_path / "inside"
    _images(inside / "one" / "cat", 1)
    (inside / "empty" / "cat").mkdir(parents=True)
    (inside / "empty" / "dog").mkdir()
    _images(inside / "Pets" / "cat", 1)
    _images(inside / "Pets" / "dog", 1)
    (inside / "link").symlink_to(outside)
    assert find_dataset(name, catalogue, (inside,)) is None
    assert [each for each in list_datasets(catalogue, (inside,)) if each.kind == "folder"] == []
