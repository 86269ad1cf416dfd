"""Sweeps, and which jobs they made."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(200)),
        sa.Column("strategy", sa.String(16), nullable=False),
        sa.Column("factor", sa.Integer(), nullable=False),
        sa.Column("min_epochs", sa.Integer(), nullable=False),
        sa.Column("max_training_macs", sa.BigInteger()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sweeps"),
    )
    op.create_index("ix_sweeps_owner_id", "sweeps", ["owner", "id"])
    op.create_table(
        "trials",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("sweep_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("rungs", sa.JSON(), nullable=False),
        sa.Column("stopped", sa.String()),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_trials_job_id_jobs"),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name="fk_trials_sweep_id_sweeps"),
        sa.PrimaryKeyConstraint("job_id", name="pk_trials"),
    )
    op.create_index("ix_trials_sweep_id_position", "trials", ["sweep_id", "position"], unique=True)


def downgrade() -> None:
    op.drop_table("trials")
    op.drop_table("sweeps")
