"""QA checks at /qa: did each part of a sale happen, and if not, why?"""

from flask import Flask, current_app

from storefront.operations.qa import new_customer
from storefront.operations.qa.answers import Answers
from storefront.operations.qa.pages import bp
from storefront.operations.qa.ribbon import Ribbon


def init_app(app: Flask) -> None:
    """Register the pages; without QA_PAGE they are 404."""
    app.extensions["qa_answers"], app.extensions["qa_ribbon"] = Answers(), Ribbon()
    app.register_blueprint(bp)
    app.register_blueprint(new_customer.bp)


def under_test() -> dict[str, str] | None:
    """The test scenario that the sandbox has under test, for the ribbon."""
    ribbon: Ribbon = current_app.extensions["qa_ribbon"]
    return ribbon.current()
