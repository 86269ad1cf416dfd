import errno
import hashlib
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from starlette.types import Message

from service import uploads
from service.settings import Settings
from service.store.tables import Upload
from tests.service.running import SPEC, Service
from tests.service.tensor_files import content, sound

LARGE = sound(3 * 2**20)
"""So long that it is written in several pieces."""


def _folder(service: Service) -> Path:
    return service.settings.artifacts / "uploads"


def _left(service: Service) -> list[str]:
    """Return the names of whatever lies in the folder of uploads."""
    folder = _folder(service)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def _rows(service: Service) -> int:
    with service.database.reading() as session:
        return session.execute(select(func.count()).select_from(Upload)).scalar_one()


def _send(service: Service, file: bytes = LARGE, query: str = "") -> dict[str, Any]:
    answer = service.client.post(f"/v1/uploads{query}", content=file)
    assert answer.status_code == 201, answer.text
    sent: dict[str, Any] = answer.json()
    return sent


def _expire(service: Service, upload: dict[str, Any]) -> None:
    with service.database.writing() as session:
        row = session.get_one(Upload, uuid.UUID(upload["id"]))
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)


def test_a_file_is_taken_whole_hashed_and_told(service: Service) -> None:
    before = datetime.now(UTC)
    answer = service.client.post(
        "/v1/uploads?name=mein%20Netz.safetensors",
        content=LARGE,
        headers={"Content-Type": "application/octet-stream"},
    )
    assert answer.status_code == 201
    sent = answer.json()
    assert answer.headers["Location"] == f"/v1/uploads/{sent['id']}"
    assert sent["name"] == "mein Netz.safetensors"
    assert sent["bytes"] == len(LARGE)
    assert sent["sha256"] == hashlib.sha256(LARGE).hexdigest()
    kept = datetime.fromisoformat(sent["expires_at"]) - datetime.fromisoformat(sent["created_at"])
    assert kept == timedelta(days=7)
    assert datetime.fromisoformat(sent["created_at"]) >= before.replace(microsecond=0)
    assert service.client.get(answer.headers["Location"]).json() == sent
    assert _left(service) == [f"{sent['id']}.safetensors"]
    assert (_folder(service) / f"{sent['id']}.safetensors").read_bytes() == LARGE


def test_a_file_of_unknown_length_is_taken(local: Service) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(LARGE), 100_000):
            yield LARGE[start : start + 100_000]

    answer = local.client.post("/v1/uploads", content=pieces())
    assert answer.json()["sha256"] == hashlib.sha256(LARGE).hexdigest()


def test_the_same_file_twice_is_two_uploads(service: Service) -> None:
    first, second = _send(service), _send(service)
    assert first["id"] != second["id"]
    assert first["sha256"] == second["sha256"]
    assert len(_left(service)) == 2


@pytest.fixture
def narrow(make_service: Callable[[Settings], Service], settings: Settings) -> Service:
    limits = {"max_body_bytes": 1024, "upload_max_bytes": 10_000}
    return make_service(settings.model_copy(update=limits))


def test_the_limit_of_uploads_is_their_own(narrow: Service) -> None:
    _send(narrow, sound(8192))
    answer = narrow.client.post("/v1/jobs", json={**SPEC, "label": "x" * 2000})
    assert answer.status_code == 413
    assert "1024 bytes" in answer.json()["detail"]
    answer = narrow.client.request("GET", "/v1/uploads", content=bytes(2000))
    assert answer.status_code == 413


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_too_large_is_refused_with_the_limit(
    narrow: Service, *, announced: bool
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(12):
            yield bytes(1000)

    answer = narrow.client.post("/v1/uploads", content=bytes(12_000) if announced else pieces())
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert "10000 bytes" in answer.json()["detail"]
    assert _left(narrow) == []
    assert _rows(narrow) == 0


@pytest.mark.parametrize("announced", [len(LARGE) - 1, len(LARGE) + 1])
def test_another_length_than_announced_is_refused(local: Service, announced: int) -> None:
    headers = {"Content-Length": str(announced)}
    answer = local.client.post("/v1/uploads", content=LARGE, headers=headers)
    assert answer.status_code == 400
    assert str(len(LARGE)) in answer.json()["detail"]
    assert str(announced) in answer.json()["detail"]
    assert _left(local) == []


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (b"", "begin with the length of its header"),
        (b"\x80\x04\x95" + bytes(100), "begin with the length"),
        (content({"w": 1}), "must have dtype, shape and data_offsets"),
        (LARGE[:-1], "must fill the file"),
    ],
)
def test_what_is_no_sound_safetensors_file_is_refused(
    local: Service, file: bytes, told: str
) -> None:
    answer = local.client.post("/v1/uploads", content=file)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("The body must be a sound safetensors file: ")
    assert told in answer.json()["detail"]
    assert _left(local) == []
    assert _rows(local) == 0


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json", "text"])
def test_a_body_that_is_not_the_file_itself_is_refused(local: Service, kind: str) -> None:
    answer = local.client.post("/v1/uploads", content=LARGE, headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_media_type"


@pytest.mark.parametrize("query", ["name=", "name=%00", f"name={'x' * 256}", "nam=x"])
def test_a_bad_name_is_refused_and_nothing_is_left(local: Service, query: str) -> None:
    assert local.client.post(f"/v1/uploads?{query}", content=LARGE).status_code == 422
    assert _left(local) == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_507_and_leaves_nothing(
    local: Service, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "write":
        monkeypatch.setattr(uploads.Incoming, "write", full)
    else:
        monkeypatch.setattr("os.fsync", full)
    answer = local.client.post("/v1/uploads", content=LARGE)
    assert answer.status_code == 507
    assert answer.json()["code"] == "storage_full"
    assert _left(local) == []
    monkeypatch.undo()
    _send(local)


@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_IOERR"])
def test_a_row_that_cannot_be_stored_takes_its_file_along_unless_it_may_be_there(
    local: Service, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where the database goes away amid the commit, nobody knows whether the row is there."""
    cause = Exception()
    cause.sqlite_errorname = name  # type: ignore[attr-defined] # as sqlite3 sets it

    def fails(_self: object) -> None:
        raise OperationalError("COMMIT", None, cause)

    monkeypatch.setattr("sqlalchemy.orm.session.SessionTransaction.commit", fails)
    answer = local.client.post("/v1/uploads", content=LARGE)
    assert answer.status_code == (507 if name == "SQLITE_FULL" else 503)
    assert len(_left(local)) == (0 if name == "SQLITE_FULL" else 1)


def test_a_client_that_goes_away_leaves_nothing(local: Service) -> None:
    seen: list[list[str]] = []
    sent: list[Message] = []

    async def receive() -> Message:
        if not seen:
            seen.append(_left(local))
            return {"type": "http.request", "body": LARGE[: 2**21], "more_body": True}
        seen.append(_left(local))
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/uploads",
        "raw_path": b"/v1/uploads",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", str(len(LARGE)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    anyio.run(local.app, scope, receive, send)
    assert [name[-8:] for name in seen[1]] == [".partial"]
    assert _left(local) == []
    assert _rows(local) == 0
    assert sent[0]["status"] == 400


def test_pages_of_uploads_lead_on_from_the_newest_to_the_oldest(service: Service) -> None:
    ids = sorted((_send(service, sound())["id"] for _ in range(5)), reverse=True)
    first = service.client.get("/v1/uploads?limit=2").json()
    found = [item["id"] for item in first["items"]]
    following = first["next"]
    while following:
        page = service.client.get(following).json()
        found += [item["id"] for item in page["items"]]
        following = page["next"]
    assert found == ids


def test_an_upload_whose_time_is_over_is_gone_and_listed_no_more(service: Service) -> None:
    kept, over = _send(service, sound()), _send(service, sound())
    _expire(service, over)
    answer = service.client.get(f"/v1/uploads/{over['id']}")
    assert answer.status_code == 410
    assert "was kept until" in answer.json()["detail"]
    assert [item["id"] for item in service.client.get("/v1/uploads").json()["items"]] == [
        kept["id"]
    ]


def test_an_upload_that_is_removed_is_not_there_any_more(service: Service) -> None:
    kept, sent = _send(service, sound()), _send(service, sound())
    answer = service.client.delete(f"/v1/uploads/{sent['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert service.client.get(f"/v1/uploads/{sent['id']}").status_code == 404
    assert service.client.delete(f"/v1/uploads/{sent['id']}").status_code == 404
    assert _left(service) == [f"{kept['id']}.safetensors"]


def test_only_its_owner_can_remove_an_upload(service: Service) -> None:
    sent = _send(service, sound())
    somebody = service.client_with_key()
    assert somebody.delete(f"/v1/uploads/{sent['id']}").status_code == 404
    assert service.client.get(f"/v1/uploads/{sent['id']}").status_code == 200


def test_the_document_says_that_the_body_is_a_file(local: Service) -> None:
    document = local.client.get("/openapi.json").json()
    operation = document["paths"]["/v1/uploads"]["post"]
    assert list(operation["requestBody"]["content"]) == ["application/octet-stream"]
    assert {"201", "400", "413", "415", "422", "507"} <= set(operation["responses"])
