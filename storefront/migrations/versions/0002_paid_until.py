"""Until when an access is paid.

Revision ID: 0002
Revises: 0001

"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("accesses") as accesses:
        for name in ("paid_until", "asked_at", "overdue_since"):
            accesses.add_column(sa.Column(name, sa.DateTime(), nullable=True))
        accesses.create_index("ix_accesses_paid_until", ["paid_until"])


def downgrade():
    with op.batch_alter_table("accesses") as accesses:
        accesses.drop_index("ix_accesses_paid_until")
        for name in ("overdue_since", "asked_at", "paid_until"):
            accesses.drop_column(name)
