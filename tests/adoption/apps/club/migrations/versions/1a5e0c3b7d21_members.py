"""Members

Revision ID: 1a5e0c3b7d21
Revises:
Create Date: 2025-03-02 09:12:44

"""

import sqlalchemy as sa
from alembic import op

revision = "1a5e0c3b7d21"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "members",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("full_name", sa.String(length=80), nullable=False),
        sa.Column("mail", sa.String(length=120), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("joined_at", sa.DateTime(), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("mail"),
    )


def downgrade():
    op.drop_table("members")
