"""A practice Flexprice with its payment page and its webhooks; it shares no code with the shop.

What no source says and was decided here is marked [infer]; docs/fidelity.md lists it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from .settings import SandboxSettings


def create_app(settings: "SandboxSettings | None" = None) -> "Flask":
    """The sandbox as a Flask app.

    :param settings: read from the environment if left out.
    """
    from .app import create_app as create

    return create(settings)
