"""When a refund of what was delivered was heard of.

Revision ID: 0006
Revises: 0005

"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("orders") as orders:
        orders.add_column(sa.Column("refunded_at", sa.DateTime(), nullable=True))


def downgrade():
    with op.batch_alter_table("orders") as orders:
        orders.drop_column("refunded_at")
