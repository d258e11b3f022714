"""When an order moved, was looked after, and was found to be charged as it was ordered.

Revision ID: 0004
Revises: 0003

"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("orders") as orders:
        for name in ("moved_at", "terms_checked_at", "looked_at"):
            orders.add_column(sa.Column(name, sa.DateTime(), nullable=True))


def downgrade():
    with op.batch_alter_table("orders") as orders:
        for name in ("terms_checked_at", "moved_at", "looked_at"):
            orders.drop_column(name)
