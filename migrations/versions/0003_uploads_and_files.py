"""Uploads; files and findings of jobs; layers of single weights; accuracy on the support."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("storage_key", sa.String(255), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        sa.UniqueConstraint("storage_key", name="uq_uploads_storage_key"),
    )
    op.create_index("ix_uploads_owner_id", "uploads", ["owner", "id"])
    op.add_column("artifacts", sa.Column("title", sa.String(255)))
    op.add_column("artifacts", sa.Column("step", sa.BigInteger()))
    # An index, for SQLite adds a constraint only to a copy of the table (as 0002 has it).
    op.create_index("ix_artifacts_job_id_title", "artifacts", ["job_id", "title"], unique=True)
    structure = sa.Column("structure", sa.String(16), nullable=False, server_default="filter")
    op.add_column("path_layers", structure)
    op.add_column("path_steps", sa.Column("support_accuracy", sa.Double()))
    op.add_column("jobs", sa.Column("findings", sa.JSON()))
    op.add_column("models", sa.Column("dataset", sa.String(64)))


def downgrade() -> None:
    op.drop_column("models", "dataset")
    op.drop_column("jobs", "findings")
    op.drop_column("path_steps", "support_accuracy")
    op.drop_column("path_layers", "structure")
    op.drop_index("ix_artifacts_job_id_title", "artifacts")
    op.drop_column("artifacts", "step")
    op.drop_column("artifacts", "title")
    op.drop_table("uploads")
