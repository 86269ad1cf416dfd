"""Files that clients sent, as their owners see them. Nothing here commits.

They lie in one folder of the artifact directory, which the attempts' files never touch.
"""

import uuid
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

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
    query = select(Upload).where(Upload.owner == owner, Upload.expires_at > now)
    if before is not None:
        query = query.where(Upload.id < before)
    return session.scalars(query.order_by(Upload.id.desc()).limit(limit)).all()


def delete_upload(session: Session, owner: uuid.UUID, upload_id: uuid.UUID) -> str | None:
    """Delete an upload of this owner and return its storage key; None if there is none."""
    mine = (Upload.id == upload_id, Upload.owner == owner)
    return session.scalar(delete(Upload).where(*mine).returning(Upload.storage_key))


def forget_uploads(session: Session, *, now: datetime, limit: int) -> Sequence[str]:
    """Delete a batch of the uploads whose time is over and return their storage keys.

    Those that others lock at this moment are left for the next time.
    """
    over = select(Upload.id).where(Upload.expires_at <= now).limit(limit)
    rows = session.scalars(over.with_for_update(skip_locked=True)).all()
    gone = delete(Upload).where(Upload.id.in_(rows)).returning(Upload.storage_key)
    return session.scalars(gone.execution_options(synchronize_session=False)).all()


def known_keys(session: Session, keys: Sequence[str]) -> AbstractSet[str]:
    """Return those of some storage keys that belong to an upload."""
    found = select(Upload.storage_key).where(Upload.storage_key.in_(keys))
    return set(session.scalars(found))
