from datetime import UTC, datetime, timedelta

import pytest

from service.store.tables import Artifact
from tests.service.running import FinishedJob, Service, store_job


def _checkpoint(service: Service, job: FinishedJob, query: str = "") -> bytes:
    answer = service.client.get(f"/v1/jobs/{job.job_id}/checkpoint{query}")
    assert answer.status_code == 200, answer.text
    content: bytes = answer.content
    return content


def test_the_family_is_listed_from_cheap_to_dear(service: Service, finished: FinishedJob) -> None:
    items = service.client.get(f"/v1/jobs/{finished.job_id}/models").json()["items"]
    assert [item["macs"] for item in items] == [60, 100, 300, 400, 400]
    assert list(items[0]["widths"]) == ["conv2", "conv10"]
    assert items[0]["artifact"]["href"] == (f"/v1/artifacts/{items[0]['artifact']['id']}/content")


def test_the_pareto_front_holds_what_no_other_beats(
    service: Service, finished: FinishedJob
) -> None:
    url = f"/v1/jobs/{finished.job_id}/models"
    front = service.client.get(f"{url}?pareto=true").json()["items"]
    # 0.90 at 400 MACs is beaten twice: by 0.90 at 300 and by 0.95 at 400.
    assert [item["macs"] for item in front] == [60, 100, 300, 400]
    every = service.client.get(url).json()["items"]
    assert [item["pareto"] for item in every].count(False) == 1


def test_a_model_says_until_when_its_file_is_kept(service: Service, finished: FinishedJob) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    with service.database.writing() as session:
        session.get_one(Artifact, finished.artifact_ids[1]).expires_at = tomorrow
    items = service.client.get(f"/v1/jobs/{finished.job_id}/models").json()["items"]
    assert [item["expires_at"] for item in items[1:]] == [None] * 4
    assert datetime.fromisoformat(items[0]["expires_at"]) == tomorrow
    assert items[0]["artifact"]["expires_at"] == items[0]["expires_at"]


@pytest.mark.parametrize(
    ("query", "macs"),
    [
        ("max_macs=100", [60, 100]),
        ("max_params=30", [60, 100, 300]),
        ("min_accuracy=0.9", [300, 400, 400]),
        ("kind=tuned", [400]),
        ("max_macs=300&min_accuracy=0.7", [100, 300]),
        ("max_macs=1", []),
    ],
)
def test_the_family_is_filtered(
    service: Service, finished: FinishedJob, query: str, macs: list[int]
) -> None:
    items = service.client.get(f"/v1/jobs/{finished.job_id}/models?{query}").json()["items"]
    assert [item["macs"] for item in items] == macs


@pytest.mark.parametrize(
    ("query", "member"),
    [
        ("", 4),
        ("?max_macs=399", 3),
        ("?max_macs=100", 0),
        ("?max_params=9", 1),
        ("?kind=grown", 2),
        ("?min_accuracy=0.9&max_params=44", 3),
        ("?format=safetensors", 4),
    ],
)
def test_the_most_accurate_that_fits_is_downloaded(
    service: Service, finished: FinishedJob, query: str, member: int
) -> None:
    assert _checkpoint(service, finished, query) == finished.contents[member]


@pytest.mark.parametrize(
    ("query", "nearest"),
    [
        ("max_macs=50", "number 1"),
        ("min_accuracy=0.99", "number 4"),
        ("max_params=5&kind=grown", "number 0"),
        ("max_macs=280&min_accuracy=0.85", "number 3"),
    ],
)
def test_if_none_fits_the_nearest_is_named(
    service: Service, finished: FinishedJob, query: str, nearest: str
) -> None:
    answer = service.client.get(f"/v1/jobs/{finished.job_id}/checkpoint?{query}")
    assert answer.status_code == 404
    detail = answer.json()["detail"]
    assert nearest in detail
    assert all(part.split("=")[0] in detail for part in query.split("&"))


def test_a_job_without_a_model_says_so(service: Service) -> None:
    job_id = store_job(service.database)
    answer = service.client.get(f"/v1/jobs/{job_id}/checkpoint")
    assert answer.status_code == 404
    assert "no model yet" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query", ["format=tflite", "max_macs=0", "kind=big", "max_mac=1", "min_accuracy=nan"]
)
def test_a_bad_bound_is_refused(local: Service, finished_here: FinishedJob, query: str) -> None:
    answer = local.client.get(f"/v1/jobs/{finished_here.job_id}/checkpoint?{query}")
    assert answer.status_code == 422


def test_a_file_is_named_by_its_hash_and_not_sent_twice(
    service: Service, finished: FinishedJob
) -> None:
    url = f"/v1/artifacts/{finished.artifact_ids[2]}/content"
    first = service.client.get(url)
    assert first.content == finished.contents[2]
    assert len(first.headers["ETag"]) == 66
    assert first.headers["Content-Disposition"].startswith("attachment")

    again = service.client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    by_job = service.client.get(f"/v1/jobs/{finished.job_id}/checkpoint?kind=grown")
    assert by_job.headers["ETag"] == first.headers["ETag"]
    assert by_job.headers["Content-Location"] == url


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [("bytes=10-19", 10, 20), ("bytes=990-", 990, 1004), ("bytes=-4", 1000, 1004)],
)
def test_a_range_of_a_file_is_sent(
    local: Service, finished_here: FinishedJob, asked: str, begin: int, end: int
) -> None:
    url = f"/v1/artifacts/{finished_here.artifact_ids[4]}/content"
    answer = local.client.get(url, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == finished_here.contents[4][begin:end]
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/1004"


@pytest.mark.parametrize("asked", ["bytes=1004-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(
    local: Service, finished_here: FinishedJob, asked: str
) -> None:
    url = f"/v1/artifacts/{finished_here.artifact_ids[4]}/content"
    answer = local.client.get(url, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */1004"
    assert answer.json()["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "lines=0-1", "bytes=", "bytes=-", "bytes=9-5", "x", "bytes=a-b"]
)
def test_a_range_that_does_not_apply_is_passed_over(
    local: Service, finished_here: FinishedJob, asked: str
) -> None:
    url = f"/v1/artifacts/{finished_here.artifact_ids[4]}/content"
    answer = local.client.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, finished_here.contents[4])


def test_a_range_of_a_file_that_is_another_now_gives_all_of_it(
    local: Service, finished_here: FinishedJob
) -> None:
    url = f"/v1/artifacts/{finished_here.artifact_ids[4]}/content"
    etag = local.client.get(url).headers["ETag"]
    same = local.client.get(url, headers={"Range": "bytes=5000-", "If-Range": etag})
    assert same.status_code == 416
    part = local.client.get(url, headers={"Range": "bytes=1000-", "If-Range": etag})
    assert part.status_code == 206
    other = local.client.get(url, headers={"Range": "bytes=5000-", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, finished_here.contents[4])


def test_a_file_whose_time_is_over_is_gone(service: Service, finished: FinishedJob) -> None:
    with service.database.writing() as session:
        row = session.get_one(Artifact, finished.artifact_ids[0])
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    answer = service.client.get(f"/v1/artifacts/{finished.artifact_ids[0]}/content")
    assert answer.status_code == 410
    assert answer.json()["code"] == "gone"


def test_a_file_that_was_deleted_is_gone(service: Service, finished: FinishedJob) -> None:
    for file in service.settings.artifacts.iterdir():
        file.unlink()
    answer = service.client.get(f"/v1/jobs/{finished.job_id}/checkpoint")
    assert answer.status_code == 410


def test_no_row_leads_out_of_the_directory(service: Service, finished: FinishedJob) -> None:
    secret = service.settings.home / "secret"
    secret.write_text("hidden")
    link = service.settings.artifacts / "link"
    link.symlink_to(secret)
    for key in ("../secret", str(secret), "link"):
        with service.database.writing() as session:
            session.get_one(Artifact, finished.artifact_ids[0]).storage_key = key
        answer = service.client.get(f"/v1/artifacts/{finished.artifact_ids[0]}/content")
        assert answer.status_code == 410
        assert "hidden" not in answer.text
