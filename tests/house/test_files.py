"""What no tracked file may hold, and what the files say of one another."""

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    "a registry's host": re.compile(r"https?://[a-z.]*(pypi|pythonh|npmjs|debian)[a-z]*\.[a-z]"),
    "an index address": re.compile(r"^\s*--(extra-)?index-url|^\s*--find-links", re.MULTILINE),
    "a machine's path": re.compile(r"(?<![\w.])/(work|root|home/\w+)/\w"),
}


@cache
def _tracked() -> tuple[str, ...]:
    """Return every text file that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    return tuple(name for name in names if not name.endswith((".npz", ".png")))


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what: str) -> None:
    found = [
        f"{name}: {match.group().strip()}"
        for name in _tracked()
        if (match := FORBIDDEN[what].search((ROOT / name).read_text()))
    ]
    assert found == []


def test_python_files_stay_under_400_lines() -> None:
    long = {
        name: lines
        for name in _tracked()
        if name.endswith(".py") and (lines := (ROOT / name).read_text().count("\n")) > 400
    }
    assert long == {}


def test_the_locks_hold_exactly_pinned_versions() -> None:
    pinned = re.compile(r"^[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==[^ ;]+( ; .+)?$")
    for lock in sorted((ROOT / "locks").glob("*.txt")):
        loose = [line for line in lock.read_text().splitlines() if not pinned.match(line)]
        assert loose == [], lock.name


def test_every_dependency_named_in_pyproject_is_locked() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for group, named in groups.items():
        locked = {
            re.split(r"[\[=]", line)[0]
            for line in (ROOT / "locks" / f"{group}.txt").read_text().splitlines()
        }
        names = {re.split(r"[\[<>=!]", entry)[0] for entry in named if isinstance(entry, str)}
        assert names <= locked, group


def test_the_service_lock_holds_no_torch() -> None:
    assert "torch" not in (ROOT / "locks" / "service.txt").read_text()


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [name for name in _tracked() if name.endswith(".md") or name.startswith(".ci/")]
    for page in pages:
        named = set(re.findall(r"`make ([a-z]+)", (ROOT / page).read_text()))
        assert named <= targets, page


def test_bare_make_lists_every_target() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^  make ([a-z]+)", shown, re.MULTILINE)) == set(targets)


def test_every_slbi_command_that_a_page_names_exists() -> None:
    from service.cli.main import command  # noqa: PLC0415 - loads the whole command

    known = {
        info.name or info.callback.__name__
        for info in command().registered_commands
        if info.callback is not None
    } | {group.name for group in command().registered_groups}
    for page in (name for name in _tracked() if name.endswith(".md")):
        named = set(
            re.findall(r"(?:`|^|\$ |run --rm api )slbi ([a-z]+)", (ROOT / page).read_text())
        )
        assert named <= known, page
