"""What a test scenario is: what is set up, what a tester does, what is expected, and how that is checked."""

from collections.abc import Callable
from typing import Any, NamedTuple

from .facts import Facts, Shop

Body = dict[str, Any]
Call = tuple[str, str, Body]  # method, path, body
Seen = tuple[bool, str]  # whether it is as expected, and what was found

SESSIONS = "/v1/checkout/sessions"
CREATE: Body = {"times": 1, "method": "POST", "path": SESSIONS}


class Arranged(NamedTuple):
    """One override of a scenario. It holds for the scenario's own customer only."""

    kind: str
    name: str
    where: Body = {}


class Button(NamedTuple):
    """A form of the sandbox. `{session}`, `{subscription}`, `{link}`, `{customer}` and `{plan}` in its path
    and fields are filled in; it is shown once they are known.
    """

    label: str
    path: str
    fields: dict[str, str]


class Check(NamedTuple):
    """Something that must be so, read from the sandbox's own rows."""

    expected: str
    look: Callable[[Facts], Seen]


class ShopCheck(NamedTuple):
    """Something that must be so in the shop, read from its QA JSON."""

    expected: str
    look: Callable[[Shop], Seen]


class Scenario(NamedTuple):
    """:param overrides: arranged at the start, for the next customer who is made.
    :param plan: put on sale at the start, under a new name, and taken off at the end.
    :param calls: sent for the tester, because a shop would never send them; `{customer}` is a new one.
    """

    title: str
    steps: tuple[str, ...]
    expected: str
    checks: tuple[Check, ...]
    shop: tuple[ShopCheck, ...] = ()
    overrides: tuple[Arranged, ...] = ()
    buttons: tuple[Button, ...] = ()
    plan: Body | None = None
    calls: tuple[Call, ...] = ()
    arranged: str = ""  # what the overrides do, in words

    @property
    def setup(self) -> str:
        if self.calls:
            return "None. The sandbox sends the calls, with a customer of its own."
        own_plan = f"The sandbox puts {self.plan['description']} on sale. " if self.plan else ""
        return f"{own_plan}{self.arranged} Sign up in the shop as a new customer.".strip()
