"""Work off a backlog: `python -m tests.bench.backlog checkout|plain COUNT`; a line on stdin starts it.

The events alone: to ask Flexprice about each fulfilled order afterwards is not part of the transaction.
"""

import sys

from storefront.checkout.webhooks import process_event
from storefront.checkout.worker import retry_event, run_due

from . import apps

if __name__ == "__main__":
    how, number = sys.argv[1], int(sys.argv[2])
    with apps.ours().app_context():
        apps.db.session.execute(apps.db.text("SELECT 1"))
        apps.db.session.commit()
        print("ready", flush=True)
        sys.stdin.readline()
        if how == "plain":
            apps.settle_plainly(number)
        else:
            run_due(apps.WebhookEvent, process_event, retry_event, number)
