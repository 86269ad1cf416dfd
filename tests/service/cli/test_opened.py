from pathlib import Path

import pytest

from migrations.run import current, upgrade
from service.cli.exits import CommandError, ExitCode
from service.cli.opened import opened
from service.keys import check_exposure
from service.settings import Settings


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("postgresql+psycopg://somebody:secret@127.0.0.1:9/none", ExitCode.UNREACHABLE),
        ("secret", ExitCode.INVALID),
        ("postgresql+secret://somebody@127.0.0.1/none", ExitCode.INVALID),
    ],
)
def test_a_database_that_is_not_there_is_told_without_its_password(
    address: str, code: ExitCode
) -> None:
    settings = Settings(database_url=address)
    with pytest.raises(CommandError) as refused, opened(settings) as database:
        current(database)
    assert refused.value.code == code
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "slbi.sqlite3").write_text("something else")
    with (
        pytest.raises(CommandError, match="not a database"),
        opened(Settings(home=tmp_path)) as database,
    ):
        current(database)


def test_an_exposed_service_is_refused_in_a_sentence(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, host="0.0.0.0")  # noqa: S104 - the case
    with opened(settings) as database:
        upgrade(database)
    with pytest.raises(CommandError, match="active key"), opened(settings) as database:
        check_exposure(settings, database)
