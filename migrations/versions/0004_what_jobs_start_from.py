"""What a job starts from, so that it is kept until the job has ended."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = ("source_job", "source_upload")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("jobs", sa.Column(name, sa.Uuid()))
        op.create_index(f"ix_jobs_{name}", "jobs", [name])


def downgrade() -> None:
    for name in reversed(_COLUMNS):
        op.drop_index(f"ix_jobs_{name}", "jobs")
        op.drop_column("jobs", name)
