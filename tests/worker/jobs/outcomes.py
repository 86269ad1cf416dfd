"""What a job came to, so that two jobs can be compared."""

import uuid

from safetensors.torch import load_file
from sqlalchemy import select

from service.store.tables import Artifact, Model, PathGrowth, PathStep, PathSupport
from tests.yard import Yard


def points(yard: Yard, job_id: uuid.UUID) -> list[tuple[object, ...]]:
    """Return the path of a job and its family, everything but what a clock says."""
    with yard.database.reading() as session:
        steps = session.scalars(select(PathStep).where(PathStep.job_id == job_id))
        told: list[tuple[object, ...]] = [
            (row.step, row.epoch, row.round, row.phase, row.loss, row.validation_accuracy, row.macs)
            for row in steps.all()
        ]
        support = session.scalars(select(PathSupport).where(PathSupport.job_id == job_id))
        told += [(row.step, row.layer, row.n_filters, row.bits) for row in support]
        growth = session.scalars(select(PathGrowth).where(PathGrowth.job_id == job_id))
        told += [(row.step, row.layer, row.round, row.after, row.fill) for row in growth]
        models = session.scalars(select(Model).where(Model.job_id == job_id))
        for row in models:
            file = session.get_one(Artifact, row.artifact_id).storage_key
            weights = load_file(yard.settings.artifacts / file)
            told.append((row.position, row.kind, row.validation_accuracy, row.test_accuracy))
            told += [(name, tensor.sum().item()) for name, tensor in weights.items()]
    return sorted(told, key=repr)


def files(yard: Yard, job_id: uuid.UUID) -> dict[str, str]:
    """Return title -> SHA-256 of the files beside the models."""
    with yard.database.reading() as session:
        found = select(Artifact).where(Artifact.job_id == job_id, Artifact.title.is_not(None))
        return {str(row.title): row.sha256 for row in session.scalars(found)}
