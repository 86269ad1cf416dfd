"""Uploads to a disk without room."""

import hashlib
import json
import time
import uuid

from bench.faults.arrangement import Arrange, Arrangement
from bench.faults.disk import room, small_disk
from bench.faults.fault import Finding, Scope, Try
from bench.faults.poller import PROBLEM
from service.store.uploads import storage_key

DISK_MEGABYTES = 32
"""Room for uploads: several pieces of what the server writes at once."""


def filling(arrange: Arrange) -> Try:
    """Return what sends a file to a disk that it fills, to one that is full, and to one with room.

    The first two must be refused, be listed nowhere and leave nothing; the third must be kept.
    """

    def run(scope: Scope, finding: Finding) -> None:
        with (
            small_disk(DISK_MEGABYTES) as disk,
            arrange(scope.folder, artifact_dir=disk / "artifacts") as arrangement,
        ):
            fitting = zeros(DISK_MEGABYTES * 2**20 // 4)
            for _ in range(scope.times):
                with finding.trial("disk full at an upload"), room(disk) as ballast:
                    _must_refuse_upload(finding, arrangement, zeros(DISK_MEGABYTES * 2**20))
                    ballast.fill()
                    _must_refuse_upload(finding, arrangement, fitting)
                    ballast.drop()
                    _must_keep(finding, arrangement, fitting)

    return run


def zeros(size: int) -> bytes:
    """Return a safetensors file of one tensor of so many zero bytes."""
    tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    header = json.dumps({"zeros": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


def _must_refuse_upload(finding: Finding, arrangement: Arrangement, file: bytes) -> None:
    """See that a file without room is refused as such, and that nothing of it remains."""
    finding.done += 1
    answer = arrangement.client.post("/v1/uploads", content=file)
    finding.count(f"answers {answer.status_code}")
    kind = answer.headers.get("content-type")
    if answer.status_code != 507 or kind != PROBLEM:
        told = f"got {answer.status_code} as {kind}: {answer.text[:200]}"
        finding.violations.append(f"a full disk must give 507 as {PROBLEM}, {told}")
    listed = arrangement.client.get("/v1/uploads").json()["items"]
    left = [path.name for path in arrangement.settings.artifacts.rglob("*") if path.is_file()]
    if listed or left:
        found = f"{len(listed)} are listed, the folder holds {left}"
        finding.violations.append(f"a refused upload must leave nothing: {found}")


def _must_keep(finding: Finding, arrangement: Arrangement, file: bytes) -> None:
    """See that a file for which there is room is kept as it was sent; remove it."""
    begun = time.monotonic()
    answer = arrangement.client.post("/v1/uploads", content=file)
    finding.sample("kept_s", time.monotonic() - begun)
    if answer.status_code != 201:
        told = f"got {answer.status_code}: {answer.text[:200]}"
        finding.violations.append(f"a disk with room must take an upload again, {told}")
        return
    sent = answer.json()
    path = arrangement.settings.artifacts / storage_key(uuid.UUID(sent["id"]))
    came = path.read_bytes() if path.is_file() else b""
    if came != file or sent["sha256"] != hashlib.sha256(file).hexdigest():
        finding.violations.append(f"an upload must be kept as it was sent, {path.name} is not")
    arrangement.client.delete(f"/v1/uploads/{sent['id']}").raise_for_status()
