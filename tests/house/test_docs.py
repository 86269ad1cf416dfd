"""What docstrings and pages refer to exists."""

import re
from pathlib import Path

import pytest

from slbi.toolbox import Toolbox

ROOT = Path(__file__).parents[2]
MIGRATING = (ROOT / "docs" / "migrating.md").read_text()

Reference = tuple[str, str, str]


def sections_named() -> list[Reference]:
    """Return every (file, page, section) that a docstring of the method gives as its source."""
    return [
        (str(path.relative_to(ROOT)), page, section)
        for path in sorted((ROOT / "slbi").rglob("*.py"))
        for page, named in re.findall(
            r'Source: (docs/\w+\.md)((?:, | and |"[^"]+")+)', path.read_text()
        )
        for section in re.findall(r'"([^"]+)"', named)
    ]


def test_every_section_that_a_docstring_names_exists() -> None:
    found = sections_named()
    assert len(found) > 20
    for file, page, section in found:
        assert f"\n## {section}\n" in (ROOT / page).read_text(), f"{file}: {page}, {section!r}"


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[^`]+)`", MIGRATING))))
def test_every_test_that_the_page_on_migrating_names_exists(named: str) -> None:
    file, _, function = named.partition("::")
    assert f"def {function}(" in (ROOT / file).read_text() if function else (ROOT / file).is_file()


def test_every_call_of_the_toolbox_is_on_the_page_on_migrating() -> None:
    calls = [name for name in vars(Toolbox) if not name.startswith("_")]
    assert [name for name in calls if f"`{name}(" not in MIGRATING] == []
