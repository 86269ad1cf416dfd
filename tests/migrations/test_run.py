from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import migrations
from bench.faults.migrations import changed, content, fill
from migrations.revision import HEAD
from migrations.run import current, downgrade, head, upgrade
from service.store.database import Database
from service.store.tables import Base


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.stack)])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'bare.sqlite3'}")
        yield database
    else:
        url: str = request.getfixturevalue("postgresql_url")
        database = Database(url)
        with database.connecting() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        yield database
        upgrade(database)  # the session's other tests find it as they left it
    database.close()


def test_the_newest_revision_is_the_one_the_code_needs() -> None:
    folder = Path(migrations.__file__).parent
    assert ScriptDirectory(str(folder)).get_heads() == [HEAD]


def _tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def test_the_revisions_make_exactly_the_tables_of_the_code(bare: Database) -> None:
    upgrade(bare)

    with bare.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert _tables(bare) == {*Base.metadata.tables, "alembic_version"}
    assert current(bare) == head()


def test_constraints_bear_the_names_of_the_code(bare: Database) -> None:
    upgrade(bare)
    found = inspect(bare.engine)
    for table in Base.metadata.sorted_tables:
        expected = {str(constraint.name) for constraint in table.constraints}
        named = {
            found.get_pk_constraint(table.name)["name"],
            *(key["name"] for key in found.get_foreign_keys(table.name)),
            *(key["name"] for key in found.get_unique_constraints(table.name)),
            *(key["name"] for key in found.get_check_constraints(table.name)),
        }
        assert named == expected, table.name


def test_down_to_the_base_leaves_no_table_and_up_again_works(bare: Database) -> None:
    upgrade(bare)
    downgrade(bare, "base")
    assert _tables(bare) == {"alembic_version"}
    assert current(bare) is None

    upgrade(bare)
    assert current(bare) == head()


def test_a_database_that_was_never_migrated_has_no_revision(bare: Database) -> None:
    assert current(bare) is None


def test_upgrading_twice_keeps_what_is_stored(bare: Database) -> None:
    upgrade(bare)
    with bare.connecting() as connection:
        connection.execute(
            text(
                "INSERT INTO workers (id, host, pid, started_at, heartbeat_at) VALUES "
                "('00000000000000000000000000000001', 'here', 1, '2026-01-01', '2026-01-01')"
            )
        )
    upgrade(bare)
    with bare.engine.connect() as connection:
        assert connection.execute(text("SELECT host FROM workers")).scalars().all() == ["here"]


def test_rows_of_the_version_before_survive_up_and_down(bare: Database) -> None:
    upgrade(bare, "0002")
    fill(bare)
    before = content(bare)

    upgrade(bare, "0003")
    after = content(bare)
    downgrade(bare, "0002")

    assert changed("up by one", before, after) == []
    assert {row["structure"] for row in after["path_layers"]} == {"filter"}
    assert {row["title"] for row in after["artifacts"]} == {None}
    assert content(bare) == before


def test_jobs_of_the_version_before_sweeps_survive_up_and_down(bare: Database) -> None:
    upgrade(bare, "0004")
    fill(bare)
    before = content(bare)

    upgrade(bare, "0005")
    after = content(bare)
    downgrade(bare, "0004")

    assert changed("up by one", before, after) == []
    assert (after["sweeps"], after["trials"]) == ([], [])
    assert content(bare) == before


def test_migrating_from_several_places_at_once_succeeds_everywhere(bare: Database) -> None:
    address = bare.engine.url.render_as_string(hide_password=False)
    others = [Database(address) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, others))
    for other in others:
        other.close()
    assert current(bare) == head()
