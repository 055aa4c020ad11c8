"""The benchmark of incidents in short: what is planted into card transactions is named first."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.incidents import payments  # noqa: E402 - not installed
from benchmarks.incidents.plants import Plant, judge  # noqa: E402
from benchmarks.incidents.stream import incidents  # noqa: E402
from benchmarks.quality.data import data_directory  # noqa: E402

DATA = data_directory(None)


@pytest.mark.skipif(
    not (DATA / "card_transactions.csv.gz").exists(), reason="the public data are not here"
)
def test_what_was_planted_into_payments_is_named_first() -> None:
    drawn = payments.draw(104, DATA, plants=4, quiet_days=3)
    changes = incidents(payments.CONFIGURATION, drawn.lines)
    judged = judge(drawn.plants, changes)
    assert [each["kind"] for each in judged] == list(payments.KINDS[:4])
    assert sum(each["right"] for each in judged) >= 3
    assert {change["state"] for change in changes} == {"open", "updated", "resolved"}


def test_a_plant_is_right_where_the_incident_with_most_of_its_alerts_names_it_first() -> None:
    plant = Plant("terminal", "T", "7", 0, 3_600_000, frozenset({1, 2, 3}))
    message = {
        "id": "d:1", "merged_into": None, "scope": {"field": "T", "value": "7"}, "condition": None,
        "first_seen": "1970-01-01T00:00:00.000Z", "last_seen": "1970-01-01T00:10:00.000Z",
        "alerts": 2, "held": 0, "alert_ids": ["events-0-1", "events-0-3"],
        "attributes": [{"field": "T", "value": "7"}],
        "last": {"alert": "events-0-3"}, "peak": {"alert": "events-0-1"},
    }  # fmt: skip
    of_other = {"alert": "events-0-2"}
    other = {**message, "id": "d:2", "alert_ids": ["events-0-2"], "attributes": []}
    other |= {"last": of_other, "peak": of_other}
    nine = {"alert": "events-0-9"}
    assert judge([plant], [other, message])[0]["right"]
    earlier = {**message, "alert_ids": ["events-0-9"], "last": {"alert": "events-0-2"}}
    assert judge([plant], [earlier, {**earlier, "last": nine, "peak": nine}])[0]["found"]
    assert not judge([plant], [other])[0]["right"]
    assert not judge(
        [plant], [{**message, "alert_ids": ["events-0-9"], "last": nine, "peak": nine}]
    )[0]["found"]
