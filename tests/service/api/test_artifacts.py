import pytest

from service.store.tables import Job
from tests.service.running import FILES, FinishedJob, Service, store_files


def test_the_files_of_a_job_are_listed_with_those_of_its_models(
    service: Service, finished: FinishedJob
) -> None:
    stored = store_files(service.database, service.settings.artifacts, finished.job_id)
    job = service.client.get(f"/v1/jobs/{finished.job_id}").json()
    items = service.client.get(job["links"]["artifacts"]).json()["items"]
    members = {item["id"] for item in items if item["title"] is None}
    assert members == {str(each) for each in finished.artifact_ids}
    beside = {item["title"]: item for item in items if item["title"]}
    assert {title: item["id"] for title, item in beside.items()} == {
        title: str(artifact) for title, artifact in stored.items()
    }
    picture = beside["conv2-weights.png"]
    assert (picture["kind"], picture["format"], picture["step"]) == ("picture", "png", 20)
    assert (picture["bytes"], picture["expires_at"]) == (17, None)
    assert len(picture["sha256"]) == 64
    assert service.client.get(picture["href"]).content == b"conv2-weights.png"


@pytest.mark.parametrize("title", FILES)
def test_a_file_is_served_under_its_title_as_what_it_is(
    local: Service, finished_here: FinishedJob, title: str
) -> None:
    stored = store_files(local.database, local.settings.artifacts, finished_here.job_id)
    answer = local.client.get(f"/v1/artifacts/{stored[title]}/content")
    expected = {
        "png": "image/png",
        "json": "application/json",
        "csv": "text/csv; charset=utf-8",
        "safetensors": "application/octet-stream",
    }
    assert answer.headers["Content-Type"] == expected[FILES[title][1]]
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{title}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_files_are_listed_to_their_owner_only(service: Service, finished: FinishedJob) -> None:
    stored = store_files(service.database, service.settings.artifacts, finished.job_id)
    somebody = service.client_with_key()
    assert somebody.get(f"/v1/jobs/{finished.job_id}/artifacts").status_code == 404
    for artifact in stored.values():
        assert somebody.get(f"/v1/artifacts/{artifact}/content").status_code == 404


def test_a_job_says_what_it_found_out(service: Service, finished: FinishedJob) -> None:
    url = f"/v1/jobs/{finished.job_id}"
    first = service.client.get(url)
    assert first.json()["findings"] is None
    with service.database.writing() as session:
        session.get_one(Job, finished.job_id).findings = {"order": [2, 1], "best": None}
    again = service.client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert again.json()["findings"] == {"order": [2, 1], "best": None}
