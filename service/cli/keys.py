"""Commands on keys. They work on the database itself, where the service runs."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.exits import CommandError, ExitCode
from service.cli.opened import opened
from service.cli.options import AsJson
from service.cli.output import MISSING, console, print_json, print_table
from service.errors import NotFoundError
from service.settings import Settings

if TYPE_CHECKING:
    from service.store.database import Database

keys = typer.Typer(
    help="Make, list and revoke keys, in the database of this machine.", no_args_is_help=True
)

Home = Annotated[Path | None, typer.Option(help="What `slbi serve --home` was given.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for the list.")],
    *,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once."""
    from service.keys import create_key

    with _database(home) as database:
        key_id, secret = create_key(database, name)
    if as_json:
        print_json({"id": str(key_id), "name": name, "key": secret})
    else:
        console().print(f"Key {key_id}, shown only now:")
        print(secret)


@keys.command("list")
def list_(*, home: Home = None, as_json: AsJson = False) -> None:
    """List the keys; the secrets are not kept."""
    from service.keys import list_keys

    with _database(home) as database:
        found = list_keys(database)
    if as_json:
        print_json(
            [
                {
                    "id": str(key.id),
                    "name": key.name,
                    "prefix": key.prefix,
                    "created_at": key.created_at.isoformat(),
                    "last_used_at": key.last_used_at and key.last_used_at.isoformat(),
                    "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
                }
                for key in found
            ]
        )
        return
    print_table(
        ["id", "name", "begins with", "made", "last used", "revoked"],
        [
            [
                str(key.id),
                key.name,
                key.prefix,
                f"{key.created_at:%Y-%m-%d %H:%M}",
                f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else MISSING,
                f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else MISSING,
            ]
            for key in found
        ],
    )


@keys.command()
def revoke(
    key_id: Annotated[uuid.UUID, typer.Argument(metavar="ID", help="Id of the key.")],
    *,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key useless from now on. Its jobs stay."""
    from service.keys import revoke_key

    with _database(home) as database:
        try:
            revoke_key(database, key_id)
        except NotFoundError as error:
            raise CommandError(error.detail, ExitCode.NOT_FOUND) from error
    if as_json:
        print_json({"id": str(key_id), "revoked": True})
    else:
        console().print(f"Key {key_id} is revoked.")


@contextmanager
def _database(home: Path | None) -> Iterator["Database"]:
    """Give the database, which must have its tables.

    Raises:
        CommandError: It was never migrated.
    """
    from migrations.run import current

    with opened(Settings(home=home) if home else Settings()) as database:
        if current(database) is None:
            raise CommandError(
                f"the database must have been set up, {database.engine.url} was not:"
                " run `slbi serve` or `slbi migrate` first"
            )
        yield database
