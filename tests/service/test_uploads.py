"""Uploads to a real server: what breaks off or is killed leaves nothing that counts."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.service.tensor_files import sound
from tests.yard import wait_for

FILE = sound(8 * 2**20)
HALF = len(FILE) // 2


@contextmanager
def served(home: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    command = [sys.executable, "-m", "service.cli.main", "serve", "--json", "--port", "0"]
    with subprocess.Popen(
        [*command, "--home", str(home)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if address := json.loads(line).get("ready"):
                    yield address, process
                    break
        finally:
            process.terminate()


def send_half(address: str) -> socket.socket:
    """Begin an upload and leave it half done."""
    host = urlsplit(address)
    assert host.hostname is not None
    connection = socket.create_connection((host.hostname, host.port or 80))
    head = (
        "POST /v1/uploads HTTP/1.1",
        f"Host: {host.netloc}",
        "Content-Type: application/octet-stream",
        f"Content-Length: {len(FILE)}",
    )
    connection.sendall("\r\n".join((*head, "", "")).encode() + FILE[:HALF])
    return connection


@pytest.mark.slow
def test_what_breaks_off_leaves_nothing_and_what_is_killed_only_a_part(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "uploads"

    def written() -> bool:
        return folder.exists() and any(path.stat().st_size > 2**20 for path in folder.iterdir())

    with served(tmp_path) as (address, _):
        with send_half(address):
            wait_for(written)
        wait_for(lambda: list(folder.iterdir()) == [])

    with served(tmp_path) as (address, process), send_half(address):
        wait_for(written)
        process.kill()
        process.wait()
    (part,) = folder.iterdir()
    assert re.fullmatch(r"\.[0-9a-f-]{36}\.partial", part.name)

    with served(tmp_path) as (address, _), httpx.Client(base_url=address) as client:
        assert client.get("/v1/uploads").json()["items"] == []
        sent = client.post("/v1/uploads", content=FILE).json()
        assert [item["id"] for item in client.get("/v1/uploads").json()["items"]] == [sent["id"]]
