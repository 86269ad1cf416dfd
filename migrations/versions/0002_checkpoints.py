"""Checkpoints that another attempt goes on from; from where on attempts count; room to wait for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("caps_from", "limit_from"):
        op.add_column("jobs", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    step = sa.Column("furthest_step", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("jobs", step)
    op.add_column("jobs", sa.Column("space_needed", sa.BigInteger()))
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("recorded_step", sa.BigInteger(), nullable=False),
        sa.Column("models", sa.Integer(), nullable=False),
        sa.Column("progress", sa.JSON()),
        sa.Column("storage_key", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_checkpoints_job_id_jobs"),
        sa.UniqueConstraint("storage_key", name="uq_checkpoints_storage_key"),
    )
    op.create_index("ix_checkpoints_job_id", "checkpoints", ["job_id"])


def downgrade() -> None:
    op.drop_table("checkpoints")
    # Not in a batch: that copies the table, and dropping the old one breaks what refers to it.
    for name in ("space_needed", "furthest_step", "limit_from", "caps_from"):
        op.drop_column("jobs", name)
