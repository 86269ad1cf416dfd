"""Server-sent events: text lines in, events out."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One row of a job's history."""

    id: int
    """Grows with time; what came after it is asked for by it."""
    type: str
    """See `service.contract.EventType`."""
    data: dict[str, Any]


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Give the events of a stream; comments, and events without id or data, are passed over.

    Source: WHATWG HTML, "Server-sent events", 9.2.6.
    """
    fields: dict[str, list[str]] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
            continue
        if "id" in fields and "data" in fields:
            yield Event(
                id=int(fields["id"][-1]),
                type=fields.get("event", ["message"])[-1],
                data=json.loads("\n".join(fields["data"])),
            )
        fields = {}
