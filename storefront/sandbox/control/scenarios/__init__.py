"""The test scenarios, by family: short data. What they check is in the modules `…checks.py`."""

from .failures import NETWORK, REFUSALS
from .model import Scenario
from .paying import ENDINGS, WAYS_TO_PAY
from .second_month import CHANGES, RENEWALS

GROUPS: dict[str, dict[str, Scenario]] = {
    "Ways to pay": WAYS_TO_PAY,
    "Endings": ENDINGS,
    "Refusals": REFUSALS,
    "Network failures": NETWORK,
    "Renewals": RENEWALS,
    "Changes": CHANGES,
}
SCENARIOS = {key: scenario for group in GROUPS.values() for key, scenario in group.items()}
