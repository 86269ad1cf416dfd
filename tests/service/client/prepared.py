"""What a small HTTP server shall answer, in order, some of it broken off, and what it was asked."""

from dataclasses import dataclass, field

from service.client.client import Client
from service.client.retry import Backoff


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer; with `cut` only so many bytes of the body are sent before the connection ends."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    cut: int | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Prepared:
    """The server: put answers in, look at what was asked. Without an answer left it says 418."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    waited: list[float] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    def client(self, key: str | None = None, tries: int = 3) -> Client:
        """Return a client of this server that notes its waits instead of waiting."""
        client = Client(self.url, key, backoff=Backoff(tries=tries, sleep=self.waited.append))
        self.clients.append(client)
        return client
