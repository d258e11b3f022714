"""Paid orders are found at once, however many others are looked after.

Revision ID: 0008
Revises: 0007

"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PAID = sa.text("state = 'paid'")


def upgrade():
    op.create_index(
        "orders_to_hand_over", "orders", ["next_look_at"], sqlite_where=PAID, postgresql_where=PAID
    )


def downgrade():
    op.drop_index("orders_to_hand_over", "orders")
