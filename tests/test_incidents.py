"""Incidents: what belongs together is one, and each is opened and resolved once."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.incidents import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Event,
    Happening,
    Stream,
    calm,
    finding,
    of,
    signal,
    told_along,
    tracker,
)

from stream_detector.errors import StateError
from stream_detector.events import NO_TIMESTAMP
from stream_detector.incidents import Change, Returned
from stream_detector.incidents.chance import evidence, excess
from stream_detector.incidents.incident import MOST_IDS

BEGIN, END = 19_600, 20_600


def new(changes: list[tuple[int, Change]]) -> list[Change]:
    """The last message of each incident that began with the planted events."""
    last = {body["id"]: body for at, body in changes if at >= BEGIN}
    return [one for one in last.values() if BEGIN <= number_of(one["first"]["alert"]) < END]


def number_of(alert: str) -> int:
    return int(alert.rsplit("-", 1)[1])


def planted(row: int, mark_ms: int, event: Event) -> Iterator[Happening]:
    yield from calm(row, mark_ms, event)


# --- what belongs together ------------------------------------------------------------------------


def test_a_burst_of_a_thousand_events_of_a_key_is_opened_once_and_resolved_once() -> None:
    def burst(row: int, mark_ms: int, event: Event) -> Iterable[Happening]:
        yield from calm(row, mark_ms, event)
        if BEGIN <= row < END:
            yield signal(mark_ms, row, ("c7", *event[1:]))

    changes = Stream(40_000).run(tracker(), burst)
    one = new(changes)
    assert [body["scope"] for body in one] == [{"field": "customer", "value": "c7"}]
    assert one[0]["alerts"] == 1000
    told = Counter(body["change"] for _, body in changes if body["id"] == one[0]["id"])
    assert told["opened"] == told["quiet"] == 1
    assert told.keys() == {"opened", "count", "quiet"}
    assert told["count"] <= math.log2(1000)
    assert one[0]["condition"] == {"field": "customer", "value": "c7", "covers": 1.0}
    assert len(one[0]["alert_ids"]) == MOST_IDS


def test_a_level_shift_of_a_key_that_seldom_comes_stays_open_until_its_events_are_ordinary() -> (
    None
):
    """One event of c7 in some 80 minutes: the quiet period alone would end it after each."""
    # So it does not: one is waited for, for two times as long as they usually take.
    stream = Stream(60_000)
    own = [row for row, event in enumerate(stream.events) if event[0] == "c7"]
    shifted = [row for row in own if BEGIN <= row < 35_000]
    assert len(shifted) > 20

    def shift(row: int, mark_ms: int, event: Event) -> Iterable[Happening]:
        yield from calm(row, mark_ms, event)
        if event[0] == "c7" and BEGIN <= row < 35_000 and row != shifted[4]:
            yield signal(mark_ms, row, event)

    changes = stream.run(tracker(), shift)
    mine = [(at, body) for at, body in changes if body["scope"]["value"] == "c7"]
    ids = {body["id"] for _, body in mine}
    assert len(ids) == 1
    told = Counter(body["change"] for _, body in mine)
    assert (told["opened"], told["reopened"], told["quiet"]) == (1, 0, 1)
    over = mine[-1][0]
    assert over > shifted[-1]
    assert sum(shifted[-1] < row <= over for row in own) <= 4


def test_an_outage_of_everything_is_one_incident_and_not_one_a_key() -> None:
    begin, end = 20_000, 20_900

    def outage(row: int, mark_ms: int, event: Event) -> Iterable[Happening]:
        yield from calm(row, mark_ms, event)
        if begin <= row < end and row % 3:
            yield signal(mark_ms, row, event)

    changes = Stream(40_000, SECOND).run(tracker(), outage)
    opened = [
        body for body in of(changes, "opened") if begin <= number_of(body["first"]["alert"]) < end
    ]
    assert [body["scope"] for body in opened] == [{"field": None, "value": None}]
    last = [body for _, body in changes if body["id"] == opened[0]["id"]][-1]
    assert last["change"] == "quiet"
    assert last["alerts"] > 0.95 * (end - begin) * 2 / 3
    assert last["condition"] is None


def test_what_customers_share_is_the_incident() -> None:
    def skimmed(row: int, mark_ms: int, event: Event) -> Iterable[Happening]:
        yield from calm(row, mark_ms, event)
        if BEGIN <= row < END and row % 30 == 0:
            yield signal(mark_ms, row, (event[0], "t99", event[2]))

    changes = Stream(40_000).run(tracker(), skimmed)
    one = new(changes)
    assert [body["scope"] for body in one] == [{"field": "terminal", "value": "t99"}]
    assert one[0]["attributes"][0]["value"] == "t99"
    assert one[0]["condition"]["value"] == "t99"


def test_a_frequent_value_that_alerts_share_is_found_too() -> None:
    """One event of five is of r1, so that two or three alerts of it say nothing."""

    def region(row: int, mark_ms: int, event: Event) -> Iterable[Happening]:
        yield from calm(row, mark_ms, event)
        if BEGIN <= row < END and event[2] == "r1" and row % 2:
            yield signal(mark_ms, row, event)

    changes = Stream(40_000).run(tracker(), region)
    one = max((body for _, body in changes), key=lambda body: body["alerts"])
    assert one["scope"] == {"field": "region", "value": "r1"}
    assert one["attributes"][0]["field"] == "region"


def test_two_things_at_once_are_two() -> None:
    def two(row: int, mark_ms: int, event: Event) -> Iterable[Happening]:
        yield from calm(row, mark_ms, event)
        if BEGIN <= row < END and row % 20 == 0:
            yield signal(mark_ms, row, (event[0], "t99", event[2]))
        if BEGIN <= row < END and row % 20 == 10:
            yield signal(mark_ms, row, ("c7", *event[1:]))

    changes = Stream(40_000).run(tracker(), two)
    assert {body["scope"]["value"] for body in new(changes) if body["alerts"] > 5} == {"t99", "c7"}


def test_chance_alerts_of_a_frequent_value_do_not_keep_its_incident_open() -> None:
    def region(row: int, mark_ms: int, event: Event) -> Iterable[Happening]:
        if row % 200 == 0 or (BEGIN <= row < END and event[2] == "r1" and row % 2):
            yield signal(mark_ms, row, event)

    changes = Stream(60_000).run(tracker(), region)
    most = max((body for _, body in changes), key=lambda body: body["alerts"])
    one = [body for _, body in changes if body["id"] == most["id"]][-1]
    assert one["state"] == "resolved"
    assert one["resolved"] < "1970-01-03T11"  # it ended at 09:13


def test_a_single_alert_of_a_key_that_seldom_comes_waits_for_its_next_event() -> None:
    """In vain for two times as long as these usually take, and not of one that hardly comes."""
    stream = Stream(20_000)
    del stream.events[-1]
    end = 19_999 * stream.step_ms
    for key, hours in (("c7", (2.0, 3.6)), ("new", (0.5, 0.5))):
        one = tracker()
        stream.run(one, lambda *_: ())
        one.advance(end)
        one.take(signal(end, 1, (key, "t", "r")))
        over = [one for one in one.advance(end + 3 * DAY) if one["change"] == "quiet"]
        assert len(over) == 1
        lasted = datetime.fromisoformat(over[0]["resolved"]).timestamp() - end / 1000
        assert hours[0] <= lasted / 3600 <= hours[1], key
    one = tracker()
    stream.run(one, lambda *_: ())
    one.take(signal(end, 1, ("c7", "t", "r")))
    for _ in range(64):
        one.population([["c7"], ["t"], ["r"]], 1)
    one.learn()  # of the chunk of the alert itself
    assert not [body for body in one.advance(end + HOUR) if body["change"] == "quiet"]
    one.population([["c7"], ["t"], ["r"]], 1)
    one.learn()
    assert [body["change"] for body in one.advance(end + HOUR)] == ["quiet"]


def test_a_state_goes_on_with_another_half_life() -> None:
    """Longer or shorter: what is usual stays what it was."""
    stream, one = Stream(20_000), tracker(half_life="7d")
    stream.run(one, lambda *_: ())
    before = one._population.share("region", "r0")
    for half_life in ("1h", "30d", "7d"):
        other = tracker(half_life=half_life)
        other.restore(one.state())
        assert other._population.share("region", "r0") == pytest.approx(before, rel=1e-3)
        one = other


# --- monitors -------------------------------------------------------------------------------------


def test_a_silence_stays_open_until_the_key_is_back() -> None:
    one = tracker(quiet="30m")
    one.advance(0)
    one.take(finding(10 * MINUTE, "customer", "c1"))
    changes = one.advance(3 * DAY)
    assert [body["change"] for body in changes] == ["opened"]
    assert one.take(Returned("watch", "c1", 3 * DAY)) == []
    assert one.advance(3 * DAY + 29 * MINUTE) == []
    assert [body["change"] for body in one.advance(3 * DAY + 30 * MINUTE)] == ["quiet"]


def test_who_never_comes_back_is_given_up() -> None:
    one = tracker(longest_ongoing="7d")
    one.advance(0)
    one.take(finding(0, "customer", "c1"))
    changes = one.advance(8 * DAY)
    assert [body["change"] for body in changes] == ["opened", "expired"]


def test_several_keys_of_an_incident_must_all_be_back() -> None:
    one = tracker()
    one.advance(0)
    one.take(finding(0, "", ""))
    one.take(finding(1, "customer", "c1", others_pace=0.1))
    one.advance(HOUR)
    assert len(one) == 1
    one.take(Returned("watch", "", HOUR))
    assert one.advance(DAY) == []
    one.take(Returned("watch", "c1", DAY))
    assert [body["change"] for body in one.advance(2 * DAY)] == ["quiet"]


def test_keys_that_have_most_of_the_events_and_are_silent_are_everything() -> None:
    stream, one = Stream(2000), tracker()
    stream.run(one, lambda *_: ())
    start = 2000 * 10 * SECOND
    changes: list[Change] = []
    for number, key in enumerate(["r0", "r1", "r2", "r3"]):
        now = start + number * 3 * HOUR
        changes += one.advance(now)
        changes += one.take(finding(now, "region", key))
    changes += one.advance(start + DAY)
    last = changes[-1]
    assert (last["change"], last["scope"]["field"]) == ("scope", None) or len(one) == 1
    assert len(one) == 1


def test_events_and_monitors_meet_in_one_incident() -> None:
    stream, one = Stream(2000), tracker()
    stream.run(one, lambda *_: ())
    now = 2000 * stream.step_ms
    one.take(finding(now, "terminal", "t1", kind="rate"))
    one.take(signal(now + 5 * SECOND, 1, ("c1", "t1", "r0")))
    changes = one.advance(now + MINUTE)
    assert [body["kinds"] for body in changes] == [{"rate": 1, "event": 1}]
    assert changes[0]["scope"] == {"field": "terminal", "value": "t1"}


def test_what_joins_as_the_first_of_its_kind_is_told_though_there_are_many_alerts() -> None:
    """An outage that a monitor finds while there is an incident about everything already."""
    one, _ = lone()
    changes: list[Change] = []
    for number in range(2, 40):
        changes += one.take(signal(30 * SECOND + number, number))
    assert changes[-1]["change"] == "count"
    (told,) = one.take(finding(MINUTE, "customer", "c", kind="rate"))
    assert (told["change"], told["kinds"]) == ("count", {"event": 39, "rate": 1})
    assert one.take(finding(MINUTE + 1, "customer", "c", kind="rate")) == []


# --- life -----------------------------------------------------------------------------------------


def lone(**settings: Any) -> Any:
    """A tracker with one open incident of c1, begun at 0 and opened at 30 s."""
    one = tracker(**settings)
    one.advance(0)
    one.take(signal(0, 1))
    return one, one.advance(30 * SECOND)[0]["id"]


def test_it_is_opened_again_within_two_hours_and_is_another_one_later() -> None:
    one, identity = lone()
    assert one.advance(30 * MINUTE)[0]["change"] == "quiet"
    for _ in range(20):  # so many ordinary events that it was over
        one.population([["c"], ["t"], ["r"]], 1)
        one.learn()
    now = 30 * MINUTE + 2 * HOUR
    one.advance(now)
    one.take(signal(now, 2))
    again = one.advance(now + MINUTE)[0]
    assert (again["id"], again["change"], again["reopened"]) == (identity, "reopened", 1)
    assert again["alerts"] == 2
    assert again["state"] == "open"
    for _ in range(200):
        one.population([["c"], ["t"], ["r"]], 1)
        one.learn()
    one.advance(now + 2 * MINUTE)
    one.advance(now + 5 * HOUR)
    one.take(signal(now + 5 * HOUR, 3))
    assert one.advance(now + 6 * HOUR)[0]["id"] != identity


def test_what_was_all_held_back_is_opened_when_there_is_much_of_it() -> None:
    one = tracker()
    one.advance(0)
    for number in range(7):
        one.take(signal(number, number, shown=False))
    assert one.advance(10 * MINUTE) == []
    for number in range(7, 9):
        one.take(signal(10 * MINUTE, number, shown=False))
    told = one.advance(11 * MINUTE)
    assert [(body["change"], body["alerts"], body["held"]) for body in told] == [("opened", 0, 9)]


def test_what_a_rule_hid_opens_nothing_keeps_nothing_open_and_is_counted() -> None:
    one = tracker()
    one.advance(0)
    for number in range(100):
        assert one.take(signal(number, number, shown=False, hidden_by="r1")) == []
    assert one.advance(DAY) == []
    one.take(signal(DAY, 101))
    assert one.advance(DAY + MINUTE)[0]["hidden"] == 0
    told = [one.take(signal(DAY + 20 * MINUTE, n, hidden_by="r1")) for n in range(102, 106)]
    assert [body["change"] for some in told for body in some] == ["rule", "rule", "rule"]
    over = one.advance(DAY + 31 * MINUTE)[0]
    assert (over["change"], over["hidden"], over["hidden_by"]) == ("quiet", 4, {"r1": 4})


def test_severity_rises_and_never_falls() -> None:
    one, _ = lone()
    told = one.take(signal(MINUTE, 2, severity="critical"))
    assert [(body["change"], body["severity"]) for body in told] == [("severity", "critical")]
    assert one.take(signal(MINUTE, 3))[0:] == []
    assert one.take(signal(MINUTE, 4))[0]["severity"] == "critical"


def test_somebody_looks_after_it_until_then() -> None:
    one, identity = lone()
    assert one.acknowledge("d:no-such", "ann", NO_TIMESTAMP, "") == []
    told = one.acknowledge(identity, "ann", 10 * MINUTE, "is on it")[0]
    assert told["acknowledged"] == {
        "owner": "ann", "until": "1970-01-01T00:10:00.000Z", "why": "is on it"
    }  # fmt: skip
    over = one.advance(10 * MINUTE)[0]
    assert (over["change"], over["acknowledged"]) == ("acknowledged", None)


def test_a_snooze_ends_where_it_becomes_more_severe_or_is_about_more() -> None:
    one, identity = lone()
    assert one.snoozed(signal(MINUTE, 2)) is None
    one.snooze(identity, "bob", HOUR, "later")
    assert one.snoozed(signal(MINUTE, 2)) == identity
    one.take(signal(MINUTE, 2, severity="high"))
    assert one.snoozed(signal(MINUTE, 3)) is None
    one.acknowledge(identity, "bob", NO_TIMESTAMP, "")
    for number in range(3, 9):
        told = one.take(signal(2 * MINUTE, number, (f"c{number}", "t", "r")))
    assert any(body["change"] == "scope" for body in told) or one.advance(HOUR)
    assert one.advance(3 * MINUTE) == []


def test_without_room_the_one_quiet_for_longest_ends_and_is_told() -> None:
    one = tracker(max_open=4, quiet="1d")
    one.advance(0)
    told: list[Change] = []
    for number in range(8):
        now = number * 6 * HOUR
        told += one.advance(now)
        told += one.take(signal(now, number, (f"c{number}", f"t{number}", f"r{number}")))
    ended = [body for body in told if body["change"] == "evicted"]
    assert len(one) <= 4
    assert all(body["state"] == "resolved" for body in ended)


def test_a_watermark_that_was_wrong_holds_nothing_up() -> None:
    one, _ = lone()
    one.advance(DAY)
    one.take(signal(DAY, 2))
    one.go_back(HOUR)
    told = one.advance(HOUR + MINUTE)
    assert [body["change"] for body in told] == ["reopened"] or told == []
    assert one.advance(5 * DAY)[-1]["change"] == "quiet"


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "expected"), [(3, 0.5), (5, 1.0), (12, 4.0), (40, 20.0)])
def test_an_excess_bounds_the_chance_of_as_many(count: int, expected: float) -> None:
    below = sum(math.exp(-expected) * expected**n / math.factorial(n) for n in range(count))
    assert 1 - below <= math.exp(-excess(count, expected))


@pytest.mark.parametrize(("count", "total", "share"), [(2, 2, 0.01), (5, 9, 0.2), (30, 50, 0.4)])
def test_evidence_bounds_the_chance_of_such_a_share(count: int, total: int, share: float) -> None:
    tail = sum(
        math.comb(total, n) * share**n * (1 - share) ** (total - n) for n in range(count, total + 1)
    )
    assert tail <= math.exp(-evidence(count, total, share)) * (1 + 1e-9)


def test_hostile_numbers_and_texts_leave_messages_sound() -> None:
    one = tracker()
    one.advance(0)
    for number, rarity in enumerate([float("nan"), float("inf"), -1.0, 1e308]):
        one.take(signal(0, number, ("\ud800" * 3, "x" * 5000, ""), rarity=rarity, reason="\udfff"))
    body = one.advance(HOUR)[0]
    text = msgspec.json.encode(body)
    assert len(text) < 30_000
    assert b"NaN" not in text
    json.loads(text)
    state = one.state()
    again = tracker()
    again.restore(state)
    assert state_bytes(again) == state_bytes(one)


def state_bytes(one: Any) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return [str(value.dtype), value.tolist()]
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        return value

    return json.dumps(plain(one.state()))


# --- any cut, any stop: the same bytes ------------------------------------------------------------


def busy(seed: int) -> Any:
    """Signals of everything there is, by lot."""
    random = np.random.default_rng(seed)
    begin, kind = int(random.integers(500, 1500)), int(random.integers(0, 4))
    lots = random.random(4000)

    def raised(row: int, mark_ms: int, event: Event) -> Iterator[Happening]:
        if row % 97 == 5:
            yield Returned("watch", event[2], mark_ms)
        if row % 301 == 7:
            yield finding(mark_ms, "region", event[2], others_pace=float(lots[row]))
        loud = begin <= row < begin + 300
        values = {0: event, 1: ("c7", *event[1:]), 2: (event[0], "t9", event[2])}.get(kind, event)
        if (loud and lots[row] < 0.4) or lots[row] < 0.01:
            yield signal(
                mark_ms,
                row,
                values if loud else event,
                shown=lots[row] > 0.1,
                severity=("low", "medium", "high", "critical")[row % 4 if row % 50 == 0 else 0],
                hidden_by="r1" if row % 11 == 0 else "",
                rarity=float(1000 + row),
            )

    return raised


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_any_cut_of_the_stream_gives_the_same_messages_and_state(seed: int, cuts: int) -> None:
    stream, raised = Stream(2000, seed=seed), busy(seed)
    whole, cut = tracker(), tracker()
    sizes = np.random.default_rng(cuts)
    expected = stream.run(whole, raised)
    found = stream.run(cut, raised, cut=lambda: int(sizes.integers(1, 40)))
    assert json.dumps(found) == json.dumps(expected)
    assert state_bytes(cut) == state_bytes(whole)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 1999))
def test_restored_midway_it_goes_on_with_the_same_bytes(seed: int, stop: int) -> None:
    stream, raised = Stream(2000, seed=seed), busy(seed)
    whole, first, second = tracker(), tracker(), tracker()
    expected = stream.run(whole, raised)
    found = stream.run(first, raised, end=stop)
    second.restore(first.state())
    assert state_bytes(second) == state_bytes(first)
    found += stream.run(second, raised, begin=stop)
    assert json.dumps(found) == json.dumps(expected)
    assert state_bytes(second) == state_bytes(whole)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_each_incident_is_told_in_order(seed: int) -> None:
    """First that it is open, then revision by revision, resolved only once it was open."""
    changes = Stream(2000, seed=seed).run(tracker(max_open=8), busy(seed))
    states: dict[str, str] = {}
    revisions: Counter[str] = Counter()
    for _, body in changes:
        identity, state = body["id"], body["state"]
        revisions[identity] += 1
        assert body["revision"] == revisions[identity]
        before = states.get(identity, "resolved")
        late = body["change"] == "merged"  # what had ended turned out to be a part of something
        assert (before == "resolved") == (state == "open") or late, (before, body["change"])
        states[identity] = state
        assert body["alerts"] + body["held"] == sum(body["kinds"].values())
        assert all(0 < one["share"] <= 1 for one in body["attributes"])


def test_a_flood_of_distinct_values_stays_within_bounds() -> None:
    one = tracker(max_open=50, max_closed=50, max_values=100)
    sizes = []
    number = 0
    for chunk in range(200):
        marks = np.arange(CHUNK_OF_FLOOD, dtype=np.int64) * SECOND + chunk * CHUNK_OF_FLOOD * SECOND
        events = [(f"c{number + n}", f"t{number + n}", f"r{number + n}") for n in range(len(marks))]
        happened = [
            (at, signal(int(marks[at]), number + at, events[at])) for at in range(0, len(marks), 3)
        ]
        told_along(one, marks, happened)
        one.population([*zip(*events, strict=True)], len(events))
        one.learn()
        number += len(events)
        sizes.append(len(state_bytes(one)))
    assert max(sizes[100:]) < 1.3 * max(sizes[20:100])
    assert one.evicted or len(one) <= 50


CHUNK_OF_FLOOD = 100


# --- hostile states -------------------------------------------------------------------------------


def states() -> Iterator[tuple[str, Any]]:
    stream, one = Stream(1500), tracker()
    stream.run(one, busy(3))
    state = dict(one.state())
    opened = json.loads(state["open"]) or json.loads(state["closed"])
    yield "number", {**state, "number": 0}
    yield "mark_ms", {**state, "mark_ms": 2**60}
    yield "events", {**state, "events": 10**9}
    yield "missing", {name: value for name, value in state.items() if name != "pace"}
    yield "no JSON", {**state, "open": "{"}
    yield "no text", {**state, "open": 7}
    yield "twice", {**state, "open": json.dumps([opened[0], opened[0]])}
    for name, value in (
        ("pulse", float(2**70)), ("usual", 0.0), ("usual", 2.0), ("severity", 9), ("alerts", -1),
        ("scope", ["a", None]), ("began_ms", 2**60), ("tally", {"signals": -1}),
        ("ids", ["x"] * 21),
        ("peak", {"alert": "a", "time_ms": 0, "rarity": -1.0, "place": {}}), ("kinds", {"a": -1}),
    ):  # fmt: skip
        yield f"{name}={value!r:.30}", {**state, "open": json.dumps([{**opened[0], name: value}])}
    population = state["population"]
    fields = population["fields"]
    worse = {"customer": {**fields["customer"], "total": float("nan")}}
    yield "total", {**state, "population": {**population, "fields": {**fields, **worse}}}
    yield "pace", {**state, "pace": {**state["pace"], "time_ms": float("inf")}}


@pytest.mark.parametrize(("name", "state"), [pytest.param(n, s, id=n) for n, s in states()])
def test_a_state_that_makes_no_sense_is_refused(name: str, state: Any) -> None:
    with pytest.raises(StateError):
        tracker().restore(state)
