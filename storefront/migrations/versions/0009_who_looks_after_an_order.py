"""Which worker looks after an order: a dead one's are free within seconds.

Revision ID: 0009
Revises: 0008

"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("orders") as orders:
        orders.add_column(sa.Column("looked_by", sa.String(length=255), nullable=True))


def downgrade():
    with op.batch_alter_table("orders") as orders:
        orders.drop_column("looked_by")
