"""Work off a backlog: `python -m tests.bench.backlog checkout|plain COUNT`; a line on stdin starts it."""

import sys

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
            while apps.checkout.run_once():
                pass
