"""Prints the functions of the copied folders that one happy sale runs, as JSON: `python trace.py`.

Runs in the folder of the adopted club, with a sandbox's settings in the environment. The sale is a click on
the page of plans, the payment, and the worker's turns until the order is fulfilled, without the pages before
and after it: what the process sets up for the first of them is not counted.
"""

import json
import sys
import threading
from pathlib import Path

import requests

FOLDERS = ("payments/checkout", "payments/flexprice")
PREFIX = "/billing"


class Recorder:
    """Remembers each function that is called while it is on, in every thread."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __enter__(self) -> "Recorder":
        threading.setprofile(self.note)
        sys.setprofile(self.note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def note(self, frame, event: str, _argument: object) -> None:  # type: ignore[no-untyped-def]
        code = frame.f_code
        if event == "call" and any(folder in code.co_filename for folder in FOLDERS):
            place = code.co_filename.partition("payments/")[2]
            if not code.co_name.startswith("<"):  # comprehensions and lambdas belong to their function
                self.seen.add(f"{place}:{code.co_qualname}")


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    from wsgi import app

    plan_id, helper = sys.argv[1], sys.argv[2]
    browser = app.test_client()
    form = {"name": "Asha", "mail": "asha@example.com", "password": "a long password"}
    browser.post("/join", data=form)
    browser.get(f"{PREFIX}/plans")
    bought = {"plan": plan_id, "currency": "inr", "billing_period": "MONTHLY"}
    recorder = Recorder()
    with recorder:
        sent = browser.post(f"{PREFIX}/checkout", data=bought, headers={"Sec-Fetch-Site": "same-origin"})
    turns(app, recorder)  # the invoice is verified while the customer pays
    requests.post(f"{helper}/pay", data=sent.headers["Location"], timeout=30)
    for message in requests.get(f"{helper}/messages", timeout=30).json():
        with recorder:
            browser.post(f"{PREFIX}/webhooks/flexprice", data=message["body"], headers=message["headers"])
    turns(app, recorder)
    with app.app_context():
        from club.extensions import db
        from club.shop import Order
        from sqlalchemy import select

        state = db.session.scalar(select(Order.state))
    print(json.dumps({"state": state, "functions": sorted(recorder.seen)}))


def turns(app, recorder: Recorder) -> None:  # type: ignore[no-untyped-def]
    from club.shop import checkout

    with app.app_context(), recorder:
        while checkout.run_once():
            pass


if __name__ == "__main__":
    main()
