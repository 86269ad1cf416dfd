"""API keys: who may call. Only their SHA-256 is stored. Nothing here commits."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service.store.tables import ApiKey


def insert_key(session: Session, key: ApiKey) -> None:
    """Store a new key."""
    session.add(key)
    session.flush()


def find_active(session: Session, sha256: str) -> ApiKey | None:
    """Return the key with this hash, unless it is revoked or unknown."""
    return session.scalars(
        select(ApiKey).where(ApiKey.sha256 == sha256, ApiKey.revoked_at.is_(None))
    ).one_or_none()


def is_active(session: Session, key_id: uuid.UUID) -> bool:
    """Return whether a key exists and is not revoked."""
    active = select(ApiKey.id).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
    return session.scalars(active).one_or_none() is not None


def all_keys(session: Session) -> Sequence[ApiKey]:
    """Return every key, revoked ones too, oldest first."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def count_active(session: Session) -> int:
    """Return how many keys are not revoked."""
    counted = select(func.count()).select_from(ApiKey).where(ApiKey.revoked_at.is_(None))
    return session.scalars(counted).one()


def mark_used(session: Session, key_id: uuid.UUID, now: datetime) -> None:
    """Note when a key was last used."""
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))


def mark_revoked(session: Session, key_id: uuid.UUID, now: datetime) -> bool:
    """Revoke a key; return whether there was an active one of this id."""
    revoked = session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiKey.id)
    )
    return revoked.one_or_none() is not None
