import pytest

from service.cli.files import name_of


def test_a_file_without_a_title_goes_by_its_id() -> None:
    row = {"id": "7", "format": "safetensors", "title": None}
    assert name_of(row) == "7.safetensors"
    assert name_of({**row, "title": "a.png"}) == "a.png"


@pytest.mark.parametrize("title", ["..", ".", "../a", "/a", "a\\b", "a\0"])
def test_a_title_that_leads_elsewhere_is_refused(title: str) -> None:
    with pytest.raises(ValueError, match="must be a plain name"):
        name_of({"id": "7", "format": "png", "title": title})
