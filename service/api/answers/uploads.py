"""What is answered about files that clients sent."""

import uuid
from datetime import datetime

from pydantic import BaseModel, Field

from service.store.tables import Upload


class UploadAnswer(BaseModel):
    """A file that was sent."""

    id: uuid.UUID
    name: str | None = Field(description="What the client called it; only shown.")
    sha256: str
    bytes: int
    created_at: datetime
    expires_at: datetime = Field(description="Until when it is kept.")

    @classmethod
    def of(cls, upload: Upload) -> "UploadAnswer":
        """Return the answer for an upload."""
        return cls.model_validate(upload, from_attributes=True)


class UploadPageAnswer(BaseModel):
    """Some uploads, newest first."""

    items: list[UploadAnswer]
    next: str | None = Field(description="Where the next page is; null on the last.")
    next_cursor: str | None = Field(description="The cursor in `next`.")
