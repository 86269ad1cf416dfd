"""Files that clients sent, as their owners see them. Nothing here commits.

They lie in one folder of the artifact directory, which the attempts' files never touch.
"""

import uuid
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from sqlalchemy import delete, not_, select
from sqlalchemy.orm import Session

from service.store.needs import upload_is_kept, upload_is_needed
from service.store.tables import Upload

FOLDER = "uploads"
"""Below the artifact directory; no id of a job reads so."""

SUFFIX = ".safetensors"


def storage_key(upload_id: uuid.UUID) -> str:
    """Return where an upload's file lies below the artifact directory."""
    return f"{FOLDER}/{upload_id}{SUFFIX}"


def find_upload(session: Session, owner: uuid.UUID, upload_id: uuid.UUID) -> Upload | None:
    """Return an upload of this owner, also one whose time is over and that will be swept."""
    return session.scalars(
        select(Upload).where(Upload.id == upload_id, Upload.owner == owner)
    ).one_or_none()


def find_kept(
    session: Session, owner: uuid.UUID, upload_id: uuid.UUID, now: datetime
) -> Upload | None:
    """Return an upload of this owner whose time is not over, or that a job needs."""
    mine = (Upload.id == upload_id, Upload.owner == owner)
    return session.scalars(select(Upload).where(*mine, upload_is_kept(now))).one_or_none()


def lock_upload(session: Session, owner: uuid.UUID, upload_id: uuid.UUID) -> Upload | None:
    """Return an upload of this owner, locked until the transaction ends."""
    mine = (Upload.id == upload_id, Upload.owner == owner)
    return session.scalars(select(Upload).where(*mine).with_for_update()).one_or_none()


def page_of_uploads(
    session: Session,
    owner: uuid.UUID,
    *,
    now: datetime,
    before: uuid.UUID | None,
    limit: int,
) -> Sequence[Upload]:
    """Return the newest uploads of this owner that are kept still, at most `limit`, newest first.

    Args:
        session: in any transaction.
        owner: whose.
        now: the time.
        before: only uploads older than this one.
        limit: how many at most.
    """
    query = select(Upload).where(Upload.owner == owner, upload_is_kept(now))
    if before is not None:
        query = query.where(Upload.id < before)
    return session.scalars(query.order_by(Upload.id.desc()).limit(limit)).all()


def forget_uploads(session: Session, *, now: datetime, limit: int) -> Sequence[str]:
    """Delete a batch of the uploads whose time is over and return their storage keys.

    Those that a job needs stay; those that others lock at this moment are left for the next time.
    """
    unneeded = not_(upload_is_needed())
    over = select(Upload.id).where(Upload.expires_at <= now, unneeded).limit(limit)
    rows = session.scalars(over.with_for_update(skip_locked=True)).all()
    # Asked again behind the lock: a job may have come between the look and the lock.
    gone = delete(Upload).where(Upload.id.in_(rows), unneeded).returning(Upload.storage_key)
    return session.scalars(gone.execution_options(synchronize_session=False)).all()


def known_keys(session: Session, keys: Sequence[str]) -> AbstractSet[str]:
    """Return those of some storage keys that belong to an upload."""
    found = select(Upload.storage_key).where(Upload.storage_key.in_(keys))
    return set(session.scalars(found))
