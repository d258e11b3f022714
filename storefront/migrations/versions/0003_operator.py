"""What an operator needs: refused webhooks, tracebacks, notes.

Revision ID: 0003
Revises: 0002

"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("inbox") as inbox:
        inbox.add_column(sa.Column("traceback", sa.Text(), nullable=True))
        inbox.create_index("inbox_by_time", ["received_at"])
    op.create_table(
        "refusals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("cause", sa.String(length=40), nullable=False),
        sa.Column("says", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=255), nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("refusals_by_cause", "refusals", ["cause", "at"])
    op.create_table(
        "operator_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("operator_notes_by_subject", "operator_notes", ["subject", "subject_id"])


def downgrade():
    op.drop_table("operator_notes")
    op.drop_table("refusals")
    with op.batch_alter_table("inbox") as inbox:
        inbox.drop_index("inbox_by_time")
        inbox.drop_column("traceback")
