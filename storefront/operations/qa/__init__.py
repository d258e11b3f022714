"""QA checks at /qa: did each part of a sale happen, and if not, why?"""

from flask import Flask

from storefront.operations.qa.answers import Answers
from storefront.operations.qa.pages import bp


def init_app(app: Flask) -> None:
    """Register the pages; without QA_PAGE they are 404."""
    app.extensions["qa_answers"] = Answers()
    app.register_blueprint(bp)
