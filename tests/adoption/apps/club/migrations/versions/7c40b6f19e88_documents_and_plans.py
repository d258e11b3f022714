"""Documents and plans

Revision ID: 7c40b6f19e88
Revises: 1a5e0c3b7d21
Create Date: 2025-08-19 16:40:02

"""

import sqlalchemy as sa
from alembic import op

revision = "7c40b6f19e88"
down_revision = "1a5e0c3b7d21"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "documents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("documents") as batch_op:
        batch_op.create_index(batch_op.f("ix_documents_member_id"), ["member_id"])
    with op.batch_alter_table("members") as batch_op:
        batch_op.add_column(sa.Column("plan", sa.String(length=255), nullable=True))


def downgrade():
    with op.batch_alter_table("members") as batch_op:
        batch_op.drop_column("plan")
    op.drop_table("documents")
