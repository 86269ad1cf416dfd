"""Where a data set lies: a name is looked up in the data directories, and never leaves them."""

import re
from collections.abc import Sequence
from pathlib import Path

from worker.training.data.sources import SOURCES, DataSource

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_FOLDER_HELP = (
    "put images by class into <directory>/{name}/train/<class>/ and, if there is a test split, "
    "<directory>/{name}/test/<class>/"
)


class DatasetError(ValueError):
    """A data set cannot be used as it lies there; the message says why."""


class DatasetAbsentError(DatasetError):
    """A data set lies in none of the data directories; the message says how to get it."""


def check_name(name: str) -> None:
    """Refuse a name that could be anything but one folder's.

    Raises:
        DatasetError: the name holds a separator, "..", a capital or another unusual character.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise DatasetError(
            "a data set's name must be 1 to 64 of a-z, 0-9, '_', '.', '-', begin with a letter or "
            f"digit and hold no '..', got {name!r}"
        )


def inside(path: Path, directory: Path) -> Path:
    """Return `path` with every link resolved.

    Raises:
        DatasetError: it leads out of `directory`.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to(directory.resolve()):
        raise DatasetError(f"{path} must stay inside {directory}, it is a link out of it")
    return resolved


def find_files(source: DataSource, directories: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files of a known data set: the first complete layout of the first directory.

    Returns:
        In the order of the layout, links resolved; none for a data set that a library bundles.

    Raises:
        DatasetAbsentError: no directory holds all files of a layout.
        DatasetError: a file is a link out of its directory.
    """
    return find_layout(source, directories)[0] if source.layouts else ()


def find_layout(source: DataSource, directories: Sequence[Path]) -> tuple[tuple[Path, ...], Path]:
    """Return what `find_files` does, of a data set with layouts, and the directory it lies in.

    Raises:
        as `find_files`.
    """
    for directory in directories:
        for layout in source.layouts:
            files = tuple(directory / name for name in layout)
            if all(file.is_dir() if source.folders else file.is_file() for file in files):
                return tuple(inside(file, directory) for file in files), directory
    expected = ", ".join(source.layouts[0])
    raise _absent(source.name, directories, f"{expected} expected; {source.how_to_get}")


def find_folder(name: str, directories: Sequence[Path]) -> tuple[Path, Path]:
    """Return the folder of images by class called `name`, and the data directory it lies in.

    Raises:
        DatasetAbsentError: no directory holds such a folder.
        DatasetError: the name is not a folder's name, or the folder is a link out of its directory.
    """
    check_name(name)
    for directory in directories:
        folder = directory / name
        if folder.is_dir():
            return inside(folder, directory), directory
    known = ", ".join(SOURCES)
    advice = f"{_FOLDER_HELP.format(name=name)}; known without a folder of images: {known}"
    raise _absent(name, directories, advice)


def _absent(name: str, directories: Sequence[Path], advice: str) -> DatasetAbsentError:
    looked = ", ".join(str(directory) for directory in directories) or "no directory at all"
    return DatasetAbsentError(
        f"data set {name!r} must be in a data directory, looked in {looked}: {advice}"
    )
