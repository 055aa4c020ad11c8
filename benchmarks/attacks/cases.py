"""All cases, in the order of the table."""

from __future__ import annotations

from .streams import Case

TUNING, REPORTED = (1, 2), (3, 4)
"""Seeds that cures may be chosen by, and those that the tables are made of."""

SHARES = (0.001, 0.01, 0.1)
CASES = (
    *(Case("copies", share, "payments", "stolen card") for share in SHARES),
    *(Case("drift", step, "payments", "final payment") for step in (0.01, 0.03, 0.08)),
    *(Case("decoys", factor, "payments", "takeover") for factor in (3, 4, 8)),
    Case("key flood", 0.3, "payments", "stolen card"),
    Case("budget flood", 0.04, "payments", "stolen card"),
    Case("mimicry", 1, "payments", "stolen card"),
    *(Case("label flips", share, "payments", "stolen card") for share in (0.01, 0.1)),
    *(Case("copies", share, "nsl", "connections") for share in SHARES),
    Case("category flood", 100, "nsl", "connections"),
    Case("budget flood", 0.06, "nsl", "connections"),
    Case("mimicry", 1, "nsl", "connections"),
    *(Case("label flips", share, "nsl", "connections") for share in (0.01, 0.1)),
    *(Case("copies", share, "http", "connections") for share in SHARES),
    Case("budget flood", 0.06, "http", "connections"),
    *(Case("label flips", share, "http", "connections") for share in (0.01, 0.1)),
)

TITLES = {
    "copies": "copies of the attack first, {:g} % of the traffic",
    "drift": "slow drift of the key, +{:g} % an event",
    "decoys": "a decoy of {:g} times the usual an hour before",
    "key flood": "keys seen once, {:g} % of the traffic",
    "budget flood": "junk alerts, {:g} % of the traffic",
    "mimicry": "numbers within the usual ranges",
    "category flood": "{:g} junk categories first",
    "label flips": "{:g} % of the labels flipped",
}


def applies(case: Case, detector: str) -> bool:
    """Tell whether a case can make a difference: only one of the detectors reads labels."""
    return case.attack != "label flips" or detector == "classifier"


def title(case: Case) -> str:
    """What the table calls a case."""
    counted = case.attack in ("category flood", "decoys")
    amount = case.strength if counted else case.strength * 100
    return TITLES[case.attack].format(amount)
