"""Attacks on what is learnt: the floors that a short run must keep, and the page's table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.attacks import payments, report  # noqa: E402 - not installed
from benchmarks.attacks.cases import CASES, REPORTED, TUNING, applies  # noqa: E402
from benchmarks.attacks.measure import measure  # noqa: E402
from benchmarks.attacks.streams import NOBODY, Case  # noqa: E402

SEED = TUNING[0]


def alerted(case: Case) -> float:
    record = measure(case, "adaptive_ensemble", SEED, Path())
    assert record["rows"] > 30_000
    return float(record["alerted"])


@pytest.fixture(scope="module")
def of_stolen_cards() -> float:
    """Share of stolen cards that are alerted where nobody attacks."""
    share = alerted(Case("", 0.0, "payments", "stolen card"))
    assert share > 0.8
    return share


def test_one_per_cent_of_copies_leave_nine_tenths_of_the_alerts(of_stolen_cards: float) -> None:
    attacked = alerted(Case("copies", 0.01, "payments", "stolen card"))
    assert attacked >= 0.9 * of_stolen_cards


def test_ten_per_cent_of_copies_leave_most_of_the_alerts(of_stolen_cards: float) -> None:
    attacked = alerted(Case("copies", 0.1, "payments", "stolen card"))
    assert attacked >= 0.75 * of_stolen_cards


def test_a_slow_drift_leaves_most_final_payments_above_the_threshold() -> None:
    record = measure(
        Case("drift", 0.03, "payments", "final payment"), "adaptive_ensemble", SEED, Path()
    )
    assert record["raised"] >= 0.7


def test_a_flood_of_keys_leaves_what_its_own_alerts_do_not_take(of_stolen_cards: float) -> None:
    """With memory for every key .73 of 1.00 is left as well; when idleness alone counted, .57."""
    flooded = alerted(Case("key flood", 0.3, "payments", "stolen card"))
    assert flooded >= 0.68 * of_stolen_cards


def test_a_small_decoy_hides_no_takeover() -> None:
    assert alerted(Case("decoys", 3, "payments", "takeover")) >= 0.95


@pytest.mark.parametrize("attack", payments.ATTACKS)
def test_an_attack_adds_rows_in_order_and_leaves_what_is_to_be_found_as_it_was(attack: str) -> None:
    case = next(each for each in CASES if each.attack == attack and each.stream == "payments")
    calm = payments.stream("", 0.0, case.planted, SEED)
    stormy = payments.stream(attack, case.strength, case.planted, SEED)
    assert len(stormy.rows) == len(calm.rows) + stormy.added
    assert stormy.added > 0
    times = [row["TX_DATETIME"] for row in stormy.rows]
    assert times == sorted(times)
    assert found(calm) == found(stormy)


def found(stream: Any) -> list[dict[str, Any]]:
    """What is to be found, without its running number."""
    places = np.flatnonzero(stream.units != NOBODY).tolist()
    return [stream.rows[place] | {"TRANSACTION_ID": 0} for place in places]


def test_seeds_of_the_tables_are_not_those_that_cures_are_chosen_by() -> None:
    assert not set(REPORTED) & set(TUNING)


def test_the_page_holds_the_tables_of_the_results() -> None:
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "attacks.json").read_text())
    page = report.PAGE.read_text()
    assert report.filled(page, results) == page
    assert "?" not in report.table(results, "payments")
    with pytest.raises(AssertionError):
        assert report.filled(page, results | {"records": []}) == page


def test_a_table_has_a_line_for_each_case_and_a_blank_where_it_makes_no_difference() -> None:
    lines = report.table({}, "nsl").splitlines()[2:]
    cases = [case for case in CASES if case.stream == "nsl"]
    assert len(lines) == len(cases)
    for line, case in zip(lines, cases, strict=True):
        assert line.endswith("|  |") != applies(case, "river")
