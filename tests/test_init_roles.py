"""Which field is what: identities, quantities, labels, leaks, times and parts of the calendar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from stream_detector.inference import Proposal, infer
from stream_detector.inference.labels import meaning

COUNT = 400
RANDOM = np.random.default_rng(0)


def events(count: int = COUNT, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """Events with a time, a quantity and the columns given, one value an event."""
    random = np.random.default_rng(1)
    return [
        {
            "time": 1_709_510_400 + 37 * row,
            "load": round(float(random.gamma(2, 3)), 3),
            **{name: values[row] for name, values in columns.items()},
        }
        for row in range(count)
    ]


def proposed(count: int = COUNT, **columns: Sequence[Any]) -> Proposal:
    return infer(events(count, **columns))


def keys(proposal: Proposal) -> list[str]:
    return [window["key"] for window, _ in proposal.windows]


def features(proposal: Proposal) -> dict[str, str]:
    kinds = ("numeric", "categorical", "boolean")
    return {entry[kind]: kind for entry, _ in proposal.features for kind in kinds if kind in entry}


def reasons(proposal: Proposal) -> dict[str, str]:
    return dict(proposal.left_out)


def several(values: Sequence[Any], seed: int = 0) -> list[Any]:
    return [values[i] for i in np.random.default_rng(seed).integers(0, len(values), COUNT)]


# --- identities and quantities --------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [f"10.0.{i}.7" for i in range(9)],
        [f"fe80::{i:x}" for i in range(1, 30)],
        [f"00:1b:44:11:3a:{i:02x}" for i in range(20)],
        [f"pump-{i}" for i in range(4)],
        [f"C{i:03d}" for i in range(40)],
        [f"ann{i}@example.org" for i in range(30)],
        [4_000_000_000_000_000 + 7919 * i * i for i in range(40)],
        [4_979_643_355_372_895_320 + i for i in range(30)],
        [-727_612_092_139_916_043 + 10**14 * i for i in range(30)],
        [f"{4532015112830000 + 97 * i}" for i in range(30)],
        [1_000_234_567 + 101 * i for i in (*range(30), 99_999)],
        [f"00{i}" for i in range(10, 60)],
    ],
)
def test_what_looks_like_a_name_and_returns_is_a_key_whatever_it_is_called(
    values: Sequence[Any],
) -> None:
    proposal = proposed(f2=several(values))
    assert keys(proposal) == ["f2"]
    assert "f2" not in features(proposal)


@pytest.mark.parametrize(
    "name", ["user", "card", "customer_id", "deviceName", "host.name", "KontoNr"]
)
def test_a_name_tips_the_balance(name: str) -> None:
    assert keys(proposed(**{name: several(list(range(12)))})) == [
        name.replace("KontoNr", "KontoNr")
    ]


def test_the_state_of_a_flow_is_a_state_and_not_a_flow() -> None:
    nested = [
        {**event, "flow": {"state": state, "age": int(age)}}
        for event, state, age in zip(
            events(),
            several(["new", "closed", "established"]),
            RANDOM.integers(0, 9, COUNT),
            strict=True,
        )
    ]
    found = infer(nested)
    assert features(found)["flow.state"] == "categorical"
    assert features(found)["flow.age"] == "numeric"
    proposal = proposed(flow_state=several(["new", "closed"]), card_type=several(["debit", "gold"]))
    assert features(proposal)["flow_state"] == features(proposal)["card_type"] == "categorical"
    assert keys(proposal) == []


def test_numbered_measurements_are_quantities_although_they_are_called_sensors() -> None:
    columns = {f"sensor_{i}": RANDOM.integers(600, 660, COUNT).tolist() for i in range(1, 6)}
    proposal = proposed(**columns)
    assert keys(proposal) == []
    assert {features(proposal)[name] for name in columns} == {"numeric"}


def test_what_goes_on_smoothly_is_a_quantity_although_it_is_called_a_device() -> None:
    walk = np.cumsum(RANDOM.integers(-1, 2, COUNT)) + 500
    proposal = proposed(device=walk.tolist())
    assert keys(proposal) == []
    assert features(proposal)["device"] == "numeric"


def test_words_without_numbers_that_hardly_return_are_no_key() -> None:
    proposal = proposed(city=several(["Kiel", "Rom", "Oslo", "Bern"]))
    assert keys(proposal) == []
    assert features(proposal)["city"] == "categorical"


def test_many_words_that_return_are_a_key_and_a_category() -> None:
    names = [f"{a}{b}a" for a in "bdfgklm" for b in "aeiou"]
    proposal = proposed(f3=several(names))
    assert keys(proposal) == ["f3"]
    assert features(proposal)["f3"] == "categorical"


@pytest.mark.parametrize("name", ["id.orig_p", "src_port", "dport", "Source Port"])
def test_ports_are_neither(name: str) -> None:
    proposal = proposed(**{name: several([80, 443, 53, 50_123, 61_000])})
    assert "port" in reasons(proposal)[name]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Unnamed: 0", RANDOM.permutation(6000)[:COUNT].tolist()),
        ("f0", RANDOM.permutation(COUNT).tolist()),
        ("column_0", list(range(COUNT))),
        ("nr", [i % 200 for i in range(COUNT)]),
        ("seq", [(i * 1 + 5) % 300 for i in range(COUNT)]),
    ],
)
def test_an_index_is_no_feature(name: str, values: Sequence[Any]) -> None:
    proposal = proposed(**{name: values})
    assert name not in features(proposal)
    assert "row" in reasons(proposal)[name] or "index" in reasons(proposal)[name]


def test_an_id_is_an_id_although_it_counts() -> None:
    proposal = proposed(TRANSACTION_ID=list(range(COUNT)))
    assert proposal.event["id"] == "TRANSACTION_ID"


def test_a_quantity_that_never_repeats_is_a_quantity() -> None:
    proposal = proposed(bytes=(RANDOM.lognormal(8, 1, COUNT) * 1000).astype(int).tolist())
    assert features(proposal)["bytes"] == "numeric"


# --- labels ---------------------------------------------------------------------------------------


def labelled(right: Any, wrong: Any, every: int = 20) -> list[Any]:
    return [wrong if row % every == 3 else right for row in range(COUNT)]


@pytest.mark.parametrize(
    ("right", "wrong", "section"),
    [
        (0, 1, {}),
        (False, True, {}),
        ("no", "yes", {}),
        ("No", "Yes", {}),
        ("f", "t", {"positive": ["t"]}),
        ("N", "Y", {"positive": ["Y"]}),
        ("Not Fraud", "Fraud", {"negative": ["Not Fraud"]}),
        ("nonfraud", "fraud", {"negative": ["nonfraud"]}),
        ("BENIGN", "DDoS", {"negative": ["BENIGN"]}),
        ("Normal", "Attack", {"negative": ["Normal"]}),
        ("normal", "anomaly", {"negative": ["normal"]}),
        ("gut", "schlecht", {"negative": ["gut"]}),
        (1, -1, {"positive": ["-1"]}),
        ("A", "B", {"positive": ["B"]}),
    ],
)
def test_labels_in_any_two_words_are_understood(
    right: Any, wrong: Any, section: dict[str, Any]
) -> None:
    proposal = proposed(is_fraud=labelled(right, wrong))
    assert proposal.labels in (
        {"field": "is_fraud", **section},
        # The same, said the other way round.
        {"field": "is_fraud", "positive": [str(wrong)]},
        # Two words that are understood anyway.
        {"field": "is_fraud"} if section else None,
    )
    assert proposal.label is not None
    assert proposal.label.truth.tolist() == [float(row % 20 == 3) for row in range(COUNT)]
    assert "is_fraud" not in features(proposal)


def test_a_guess_by_rarity_is_told() -> None:
    (warning,) = proposed(label=labelled("A", "B")).warnings
    assert "'B'" in warning
    assert not proposed(label=labelled("no", "yes")).warnings


@pytest.mark.parametrize("values", [["A", "B"], ["red", "green", "blue"], [3, 4, 5]])
def test_labels_that_nobody_understands_are_asked_for(values: list[Any]) -> None:
    proposal = proposed(label=[values[row % len(values)] for row in range(COUNT)])
    assert proposal.labels is None
    assert "label" not in features(proposal)
    assert any("set labels" in warning for warning in proposal.warnings)


def test_several_kinds_of_attacks_are_all_but_the_normal_one() -> None:
    kinds = ["normal.", "smurf.", "neptune.", "normal.", "normal."]
    proposal = proposed(f41=[kinds[row % 5] for row in range(COUNT)])
    assert proposal.labels == {"field": "f41", "negative": ["normal."]}


def test_states_of_things_are_no_label() -> None:
    proposal = proposed(status=several(["ok", "failed"]), mode=several(["normal", "eco"]))
    assert proposal.labels is None
    assert features(proposal)["status"] == "categorical"
    assert features(proposal)["mode"] == "categorical"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Not Fraud", False),
        ("no attack", False),
        ("kein Fehler", False),
        ("DoS Hulk attack", True),
        ("Benign traffic", False),
        ("1.0", True),
        ("", None),
        ("B", None),
    ],
)
def test_meaning_of_a_word(value: str, found: bool | None) -> None:
    assert meaning(value) is found


def test_what_leaks_the_label_is_left_out_and_what_is_only_large_is_not() -> None:
    label = labelled(0, 1)
    proposal = proposed(
        is_fraud=label,
        fraud_reason=["stolen" if one else "none" for one in label],
        verdict_code=[f"R{17 if one else 3}" for one in label],
        p=[0.9 if one else 0.01 * (row % 90) for row, one in enumerate(label)],
        amount=[5000.0 + row if one else 10.0 + row % 90 for row, one in enumerate(label)],
    )
    assert set(reasons(proposal)) >= {"fraud_reason", "verdict_code", "p"}
    assert features(proposal)["amount"] == "numeric"
    assert any("amount" in warning for warning in proposal.warnings)


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("t", lambda row: 1_421_927_414 + row),
        ("stime", lambda row: str(1_421_927_414 + row)),
        ("f0", lambda row: 1_421_927_414_123 + 1000 * row),
        ("x", lambda row: f"2024-03-04 08:{row // 60:02d}:{row % 60:02d}"),
        ("when", lambda row: f"04.03.2024 08:{row // 60:02d}:{row % 60:02d}"),
    ],
)
def test_a_time_is_found_under_any_name(name: str, make: Callable[[int], Any]) -> None:
    some = [{"load": float(RANDOM.normal()), name: make(row)} for row in range(COUNT)]
    assert infer(some).event["time"]["field"] == name


def test_of_several_times_the_one_of_the_event_is_taken() -> None:
    def at(hour: int, row: int) -> str:
        return f"2024-03-04T{hour:02d}:{row // 60:02d}:{row % 60:02d}Z"

    proposal = infer(
        [
            {
                "_start": "2024-03-04T00:00:00Z",
                "end_time": at(9, row),
                "created": at(7, row),
                "_time": at(8, row),
                "v": float(RANDOM.normal()),
            }
            for row in range(COUNT)
        ]
    )
    assert proposal.event["time"]["field"] == "_time"
    assert set(features(proposal)) == {"v"}
    assert {"_start", "end_time", "created"} <= set(reasons(proposal))


def test_a_number_that_is_no_time_stays_a_number() -> None:
    phone = [1_500_000_000 + int(n) for n in RANDOM.integers(0, 10**8, COUNT)]
    proposal = proposed(balance=phone)
    assert proposal.event["time"]["field"] == "time"


def test_parts_of_the_calendar_are_no_features() -> None:
    some = [
        {
            "ts": f"2024-03-{4 + row // 96:02d}T{row // 4 % 24:02d}:{row % 4 * 15:02d}:00",
            "v": float(RANDOM.normal()),
            "hr": row // 4 % 24,
            "dow": (row // 96) % 7,
            "month": 3,
            "Year": 2024,
            "weekday_name": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"][row // 96],
            "floor": 3,
        }
        for row in range(COUNT)
    ]
    proposal = infer(some)
    assert set(features(proposal)) == {"v", "floor"}
    left = reasons(proposal)
    assert "hour" in left["hr"]
    assert "weekday" in left["dow"]
    assert "year" in left["Year"]
    assert infer([{"hour": row % 5, "v": row % 7} for row in range(50)]).left_out[0][0] == "hour"


def test_hours_and_days_are_proposed_where_the_sample_has_been_through_two_of_them() -> None:
    def parts(step_seconds: int) -> set[str]:
        some = [{"ts": 1_709_510_400 + step_seconds * row, "v": row % 7} for row in range(300)]
        return {entry["time"] for entry, _ in infer(some).features if "time" in entry}

    assert parts(60) == set()
    assert parts(900) == {"hour_of_day"}
    assert parts(7200) == {"hour_of_day", "day_of_week"}


# --- numbers as people write them -----------------------------------------------------------------


def test_spelling_and_words_for_missing_go_into_the_configuration() -> None:
    numbers = [f"{row % 90},{row % 10}" for row in range(COUNT)]
    proposal = proposed(
        a=numbers, b=["n.v." if row % 9 == 0 else str(row % 50) for row in range(COUNT)]
    )
    assert features(proposal)["a"] == features(proposal)["b"] == "numeric"
    said = str(proposal.event)
    assert "'decimal': ','" in said
    assert "n.v." in said
    known = proposed(c=["NULL" if row % 9 == 0 else row % 50 for row in range(COUNT)])
    assert features(known)["c"] == "numeric"
    assert "NULL" not in str(known.event)


def test_a_column_that_could_be_read_in_two_ways_is_read_as_those_beside_it() -> None:
    german = [f"{row % 90},{row % 10}" for row in range(COUNT)]
    either = [f"{1 + row % 9}.{100 + row % 800}" for row in range(COUNT)]
    alone = proposed(b=either).profiles["b"].numbers
    beside = proposed(a=german, b=either).profiles["b"].numbers
    assert alone[0] == 1.1
    assert beside[0] == 1100
