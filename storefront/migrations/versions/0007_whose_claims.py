"""Which worker has claimed a message or a letter.

Revision ID: 0007
Revises: 0006

"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CLAIMED = ("inbox", "letters")


def upgrade():
    for table in CLAIMED:
        with op.batch_alter_table(table) as claimed:
            claimed.add_column(sa.Column("claimed_by", sa.String(length=255), nullable=True))


def downgrade():
    for table in CLAIMED:
        with op.batch_alter_table(table) as claimed:
            claimed.drop_column("claimed_by")
