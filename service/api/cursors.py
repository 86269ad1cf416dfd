"""Where a page ended, as the next one is asked for: an id in 22 letters."""

import base64
import uuid


def cursor_of(last: uuid.UUID) -> str:
    """Return what names the last thing of a page."""
    return base64.urlsafe_b64encode(last.bytes).rstrip(b"=").decode()


def position(cursor: str) -> uuid.UUID:
    """Return the last thing of the page before; `cursor` has the form of one."""
    return uuid.UUID(bytes=base64.urlsafe_b64decode(f"{cursor}=="))
