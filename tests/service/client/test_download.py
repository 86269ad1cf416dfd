import hashlib
from pathlib import Path

import pytest

from service.client.problem import ClientError, DamagedError, Problem, UnreachableError
from tests.service.client.prepared import Answer, Prepared

CONTENT = bytes(range(256)) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ETAG = {"ETag": f'"{SHA256}"'}


def _rest(start: int, cut: int | None = None) -> Answer:
    span = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    return Answer(status=206, headers=ETAG | span, body=CONTENT[start:], cut=cut)


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_leaves_no_part(prepared: Prepared, tmp_path: Path) -> None:
    prepared.answers = [Answer(headers=ETAG, body=CONTENT)]
    target = prepared.client().download("7", tmp_path / "net.safetensors", max_macs=9)
    assert target.read_bytes() == CONTENT
    assert _left(tmp_path) == ["net.safetensors"]
    assert prepared.asked[0].path == "/v1/jobs/7/checkpoint?max_macs=9&format=safetensors"


def test_a_file_beside_the_models_is_fetched_by_its_id(prepared: Prepared, tmp_path: Path) -> None:
    prepared.answers = [Answer(headers=ETAG, body=CONTENT)]
    target = prepared.client().download_artifact("3", tmp_path / "a.png")
    assert target.read_bytes() == CONTENT
    assert prepared.asked[0].path == "/v1/artifacts/3/content"


def test_a_download_that_breaks_off_goes_on_where_it_was(
    prepared: Prepared, tmp_path: Path
) -> None:
    prepared.answers = [
        Answer(headers=ETAG, body=CONTENT, cut=5000),
        Answer(headers=ETAG, body=CONTENT),
        _rest(5000),
    ]
    target = prepared.client().download("7", tmp_path / "net")
    assert target.read_bytes() == CONTENT
    assert prepared.asked[-1].headers["range"] == "bytes=5000-"
    assert prepared.asked[-1].headers["if-range"] == f'"{SHA256}"'


def test_a_later_call_goes_on_where_an_earlier_one_failed(
    prepared: Prepared, tmp_path: Path
) -> None:
    prepared.answers = [Answer(headers=ETAG, body=CONTENT, cut=7000)]
    with pytest.raises(UnreachableError):
        prepared.client(tries=1).download("7", tmp_path / "net")
    assert not (tmp_path / "net").exists()
    prepared.answers = [Answer(headers=ETAG, body=CONTENT), _rest(7000)]
    assert prepared.client().download("7", tmp_path / "net").read_bytes() == CONTENT
    assert prepared.asked[-1].headers["range"] == "bytes=7000-"
    assert _left(tmp_path) == ["net"]


def test_a_part_that_is_already_whole_is_only_checked(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / f".net.{SHA256[:16]}.part").write_bytes(CONTENT)
    prepared.answers = [Answer(headers=ETAG, body=CONTENT), Answer(status=416, headers=ETAG)]
    assert prepared.client().download("7", tmp_path / "net").read_bytes() == CONTENT


def test_another_content_than_announced_is_refused_and_the_old_file_stays(
    prepared: Prepared, tmp_path: Path
) -> None:
    (tmp_path / "net").write_bytes(b"old")
    prepared.answers = [Answer(headers=ETAG, body=CONTENT[:-1] + b"x")]
    with pytest.raises(DamagedError, match=SHA256):
        prepared.client().download("7", tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == b"old"
    assert _left(tmp_path) == ["net"]


def test_a_file_without_a_sha256_is_not_taken(prepared: Prepared, tmp_path: Path) -> None:
    prepared.answers = [Answer(headers={"ETag": 'W/"7"'}, body=CONTENT)]
    with pytest.raises(ClientError, match="must name a SHA-256"):
        prepared.client().download("7", tmp_path / "net")
    assert _left(tmp_path) == []


def test_no_model_that_fits_is_a_problem(prepared: Prepared, tmp_path: Path) -> None:
    prepared.answers = [Answer(status=404, body=b'{"detail": "The nearest has 12 MACs."}')]
    with pytest.raises(Problem, match="nearest"):
        prepared.client().download("7", tmp_path / "net", max_macs=1)
