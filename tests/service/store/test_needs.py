"""Between the look at what a job starts from and the job's row, nobody removes it."""

from datetime import UTC, datetime, timedelta

import pytest

from service.contract import LOCAL_OWNER, JobState
from service.store.database import Database
from service.store.ids import new_id
from service.store.needs import keep_source
from service.store.retention import begin_expiry
from service.store.tables import Artifact, Job, Model, Upload
from service.store.uploads import forget_uploads, storage_key
from tests.service.running import NOON, store_job

DAY = timedelta(days=1)


def _waiting(**columns: object) -> Job:
    """Return a job that is about to wait."""
    now = datetime.now(UTC)
    values = {
        "id": new_id(),
        "owner": LOCAL_OWNER,
        "kind": "prune",
        "spec": {},
        "spec_sha256": "0" * 64,
        "state": JobState.QUEUED,
        "priority": 0,
        "created_at": now,
        "queued_at": now,
    }
    return Job(**{**values, **columns})


@pytest.mark.stack
def test_an_upload_that_a_job_is_about_to_need_stays(postgresql: Database) -> None:
    upload_id = new_id()
    with postgresql.writing() as session:
        session.add(
            Upload(
                id=upload_id,
                owner=LOCAL_OWNER,
                sha256="0" * 64,
                bytes=5,
                storage_key=storage_key(upload_id),
                created_at=NOON,
                expires_at=NOON + DAY,
            )
        )
    job = _waiting(source_upload=upload_id)
    with postgresql.writing() as submitting:
        assert keep_source(submitting, job, NOON)
        with postgresql.writing() as sweeping:
            assert forget_uploads(sweeping, now=NOON + 2 * DAY, limit=10) == []
        submitting.add(job)
    with postgresql.writing() as sweeping:
        assert forget_uploads(sweeping, now=NOON + 2 * DAY, limit=10) == []


@pytest.mark.stack
def test_artifacts_that_a_job_is_about_to_need_get_no_end(postgresql: Database) -> None:
    source = store_job(postgresql, state=JobState.SUCCEEDED, ended_at=NOON)
    artifact_id, model_id = new_id(), new_id()
    with postgresql.writing() as session:
        session.add(
            Artifact(
                id=artifact_id,
                owner=LOCAL_OWNER,
                job_id=source,
                fence=1,
                kind="checkpoint",
                format="safetensors",
                storage_key="a",
                sha256="0" * 64,
                bytes=5,
                published_at=NOON,
            )
        )
        session.flush()
        session.add(
            Model(
                id=model_id,
                job_id=source,
                position=0,
                step=1,
                round=0,
                kind="grown",
                origin="round 0",
                widths={},
                params=1,
                macs=1,
                validation_accuracy=0.5,
                artifact_id=artifact_id,
            )
        )
    job = _waiting(source_job=source, spec={"source": {"model": str(model_id)}})
    with postgresql.writing() as submitting:
        assert keep_source(submitting, job, NOON)
        with postgresql.writing() as sweeping:
            assert begin_expiry(sweeping, keep=DAY, limit=10) == 0
        submitting.add(job)
    with postgresql.writing() as sweeping:
        assert begin_expiry(sweeping, keep=DAY, limit=10) == 0


def test_what_is_gone_or_not_the_owners_is_not_kept(database: Database) -> None:
    with database.writing() as session:
        assert keep_source(session, _waiting(), NOON)
        assert not keep_source(session, _waiting(source_upload=new_id()), NOON)
        spec = {"source": {"model": str(new_id())}}
        assert not keep_source(session, _waiting(source_job=new_id(), spec=spec), NOON)
