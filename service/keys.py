"""Keys: make, list, revoke, recognise them, and decide whether an address needs one."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.contract import LOCAL_OWNER
from service.errors import NotFoundError, UnauthenticatedError
from service.settings import Settings
from service.store.database import Database
from service.store.ids import new_id
from service.store.keys import (
    all_keys,
    count_active,
    find_active,
    insert_key,
    is_active,
    mark_revoked,
    mark_used,
)
from service.store.outage import is_away, is_full
from service.store.tables import ApiKey

PREFIX = "slbi_"
"""What every key begins with, so that people and secret scanners know it."""

_SHOWN = len(PREFIX) + 6  # enough to tell keys apart, too little to guess one
_USE_NOTED_EVERY = timedelta(minutes=1)

_log = structlog.get_logger(__name__)


class ExposureError(Exception):
    """The service would be open to everybody who reaches its address."""


def create_key(database: Database, name: str) -> tuple[uuid.UUID, str]:
    """Make a key and return its id and its secret, which is shown this once and not stored.

    Raises:
        ValueError: the name is empty or longer than 200 characters.
    """
    if not 0 < len(name) <= 200:
        raise ValueError(f"a key's name must have 1 to 200 characters, got {len(name)}")
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=new_id(),
        name=name,
        prefix=secret[:_SHOWN],
        sha256=_hash(secret),
        created_at=datetime.now(UTC),
    )
    with database.writing() as session:
        insert_key(session, key)
    return key.id, secret


def list_keys(database: Database) -> Sequence[ApiKey]:
    """Return every key, revoked ones too, oldest first."""
    with database.reading() as session:
        found = all_keys(session)
        session.expunge_all()
    return found


def revoke_key(database: Database, key_id: uuid.UUID) -> None:
    """Make a key useless from now on. Its jobs stay.

    Raises:
        NotFoundError: there is no active key of this id.
    """
    with database.writing() as session:
        if not mark_revoked(session, key_id, datetime.now(UTC)):
            raise NotFoundError(f"No active key has id {key_id}.")


def recognise(database: Database, secret: str, now: datetime) -> uuid.UUID:
    """Return whose secret this is.

    Raises:
        UnauthenticatedError: it is unknown or revoked.
    """
    with database.reading() as session:
        # Looked up by hash: how long that takes tells nothing about 32 random bytes.
        key = find_active(session, _hash(secret))
        if key is None:
            raise UnauthenticatedError("The key must be an active one, got one that is not.")
        key_id, used = key.id, key.last_used_at
    if used is None or now - used > _USE_NOTED_EVERY:
        try:
            with database.writing() as session:
                mark_used(session, key_id, now)
        except SQLAlchemyError as error:  # whoever only reads can be served without room, too
            if not (is_away(error) or is_full(error)):
                raise
            _log.warning("use_of_key_not_noted", key=str(key_id), error=str(error))
    return key_id


def still_welcome(database: Database, owner: uuid.UUID) -> bool:
    """Return whether a caller who was let in may stay: a key may be revoked during an answer."""
    if owner == LOCAL_OWNER:
        return True
    with database.reading() as session:
        return is_active(session, owner)


def check_exposure(settings: Settings, database: Database) -> None:
    """Refuse to serve an address that others reach as long as there is no key.

    Raises:
        ExposureError: the address is not a loopback one and no active key exists.
    """
    if settings.loopback:
        return
    with database.reading() as session:
        if count_active(session) == 0:
            raise ExposureError(
                f"An active key must exist to serve {settings.host}, which other machines can "
                "reach, and there is none. Create one with: slbi keys create NAME"
            )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
