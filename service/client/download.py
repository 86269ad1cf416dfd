"""One file from the service to the disk: resumed where it broke off, checked, then renamed."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from service.client.problem import ClientError, DamagedError, problem_of
from service.client.retry import Backoff

_SHA256 = re.compile(r'^"([0-9a-f]{64})"$')


@dataclass(frozen=True)
class Download:
    """A file that the service names by the SHA-256 in its ETag."""

    http: httpx.Client
    url: str
    params: Mapping[str, Any]
    backoff: Backoff

    def to(self, target: Path) -> Path:
        """Write the file to `target` and return that path.

        What has come lies beside it as `.NAME.SHA256.part` until it is whole, so that a later call
        goes on there, and never in the part of another file.
        """
        waits = self.backoff.waits()
        etag: str | None = None
        while True:
            try:
                etag = self._fetch(target, etag)
                break
            except httpx.TransportError:
                wait = next(waits, None)
                if wait is None:
                    raise
                self.backoff.wait(wait)
            except _StartedBeforeError as started:
                etag = started.etag
        part = _part(target, etag)
        with part.open("rb") as file:
            came = hashlib.file_digest(file, "sha256").hexdigest()
        if f'"{came}"' != etag:
            part.unlink()
            raise DamagedError(f"{target.name} must have the SHA-256 {etag}, got {came}")
        part.replace(target)
        _sync_directory(target.parent)
        return target

    def _fetch(self, target: Path, known: str | None) -> str:
        """Make one request, put what comes behind what is there, and return the file's ETag."""
        there = _size(_part(target, known)) if known else 0
        headers = {"Accept-Encoding": "identity"}
        if known and there:
            headers |= {"Range": f"bytes={there}-", "If-Range": known}
        with self.http.stream("GET", self.url, params=self.params, headers=headers) as response:
            if known and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return known  # everything had come before
            if response.is_error:
                response.read()
                raise problem_of(response)
            etag: str = response.headers.get("ETag", "")
            if not _SHA256.match(etag):
                raise ClientError(f"{response.url} must name a SHA-256 as ETag, got {etag!r}")
            part = _part(target, etag)
            goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
            if not goes_on and etag != known and _size(part):
                raise _StartedBeforeError(etag)
            with part.open("ab" if goes_on else "wb") as file:
                _write(response, file)
        return etag


class _StartedBeforeError(Exception):
    """A part of this file is already there: ask again, for the rest."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


def _write(response: httpx.Response, file: BinaryIO) -> None:
    file.writelines(response.iter_bytes())  # as it comes: gathered blocks are lost on a break
    file.flush()
    os.fsync(file.fileno())


def _part(target: Path, etag: str) -> Path:
    return target.with_name(f".{target.name}.{etag.strip(chr(34))[:16]}.part")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
