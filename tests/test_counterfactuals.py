"""What alerts say would have been ordinary: true when scored another way, and possible at all."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import bytes_of, configuration, decode, new_pipeline, run_in_cuts
from test_detectors import CONFIGURATIONS

from stream_detector.config import state_fingerprint
from stream_detector.counterfactuals.readable import readable
from stream_detector.counterfactuals.wording import ordinary_sentence
from stream_detector.events import EventBatch, Float64, PlainRecord
from stream_detector.features import FeatureExtractor
from stream_detector.features.columns import apply_transform
from stream_detector.pipeline import PipelineCore
from stream_detector.pipeline.alerting import MOST_ADVISED
from stream_detector.report.alert_text import readable as alert_text
from stream_detector.snapshots import Snapshot, encode

COUNT = 2800
FEATURES: list[dict[str, Any]] = [
    {"numeric": "amount", "transform": "log"},
    {"numeric": "weight", "missing": "indicator"},
    {"numeric": "items", "missing": "mean"},
    {"numeric": "constant"},
    {"numeric": "rate"},
    {"categorical": "kind", "size": 4},
    {"categorical": "place", "encoding": "rarity", "size": 64},
    {"categorical": "colour", "encoding": "hash", "size": 8},
    {"categorical": "user", "encoding": "rarity", "size": 64},
    {"boolean": "flag", "missing": "mean"},
    {"time": "hour_of_day"},
    {"time": "weekend"},
    {"ratio": ["amount", "weight"], "missing": "mean"},
    {"difference": ["first", "second"], "missing": "mean"},
]
WINDOWS: list[dict[str, Any]] = [
    {
        "key": "user",
        "value": "amount",
        "half_lives": ["1h", "1d"],
        "compute": [
            *("count", "sum", "mean", "deviation", "ratio", "baseline", "burst"),
            "time_since_last",
        ],
        "max_keys": 64,
    },
    {"key": "place", "half_lives": ["1h"], "compute": ["count", "distinct"], "distinct_of": "user"},
]
LABELS = {"field": "label", "delay": "1h", "risk": [{"key": "user", "half_lives": ["1d"]}]}


def records(count: int = COUNT, seed: int = 0) -> list[PlainRecord]:
    """Events of which one in 40 is strange, each in a way of its own."""
    random = np.random.default_rng(seed)
    made, time_ms = [], 1_600_000_000_000
    for offset in range(count):
        time_ms += int(random.exponential(60_000))
        event: dict[str, Any] = {
            "id": f"e{offset}",
            "time": time_ms,
            "user": f"u{int(random.zipf(1.6)) % 150}",
            "amount": round(float(random.lognormal(3, 0.6)), 2),
            "items": int(random.poisson(3)),
            "constant": 5,
            "rate": float(random.choice([0.0, 1.0], p=[0.9, 0.1])),
            "kind": str(random.choice(["a", "b", "c", "d"], p=[0.6, 0.2, 0.15, 0.05])),
            "place": f"p{int(random.zipf(1.8)) % 90}",
            "colour": str(random.choice(["red", "blue"])),
            "label": 0,
            "first": round(float(random.normal(10, 1)), 1),
            "second": round(float(random.normal(10, 1)), 1),
        }
        if random.random() < 0.9:
            event["weight"] = round(float(random.normal(5, 1)), 2)
        if random.random() < 0.8:
            event["flag"] = bool(random.random() < 0.1)
        if random.random() < 1 / 40:
            event["label"] = 1
            event |= [
                {"amount": event["amount"] * 500},
                {"items": 90},
                {"constant": 6},
                {"kind": "never seen", "place": f"new {offset}"},
                {"weight": -40.0},
                {"first": 400.5},
                {"rate": 1.0, "flag": True, "items": 12},
                {"amount": 1e9, "items": 1000, "weight": 1e6},
                {"user": f"new {offset}", "amount": event["amount"] * 300},
            ][int(random.integers(9))]
        made.append(PlainRecord(offset, time_ms, None, json.dumps(event).encode()))
    return made


RECORDS = records()
ALL_FIELDS = frozenset({"", *json.loads(RECORDS[0].value or b"")})


def settings(kind: str = "half_space_forest") -> Any:
    return configuration(
        features=FEATURES,
        windows=WINDOWS,
        labels=LABELS,
        detector={
            **CONFIGURATIONS.get(kind, {}),
            "kind": CONFIGURATIONS.get(kind, {"kind": kind})["kind"],
        },
    )


def scored_again(
    config: Any, state: Any, batch: EventBatch, row: int, changes: dict[str, Any]
) -> float:
    """The score of an event of a batch with other values, of a pipeline in ``state`` before it.

    Nothing of the search is used: a changed field is decoded and extracted as any other, and of
    what came before a statistic is changed as it comes out of the extractor.
    """
    patches: dict[int, float] = {}

    def extract(events: EventBatch) -> Float64:
        raw = pipeline.features.extract(events)
        if events.offset[-1] == batch.offset[row]:
            raw[-1, list(patches)] = list(patches.values())
        return raw

    pipeline = PipelineCore(config, state_fingerprint(config), extract=extract)
    pipeline.restore(state)
    pipeline.process(batch.take(slice(0, row)))
    event = batch.take(slice(row, row + 1))
    numeric, text = event.numeric.copy(), tuple(each.copy() for each in event.text)
    groups = {group.name: group for group in pipeline.features.groups}
    for name, value in changes.items():
        group = groups[name]
        if group.kind in ("numeric", "boolean"):
            numeric[0, pipeline.plan.numeric.index(name)] = value
        elif group.kind == "categorical":
            text[pipeline.plan.text.index(name)][0] = value
        else:
            transform = pipeline.features.transform_of(group.columns[0])
            patches[group.columns[0]] = apply_transform(np.array([value]), transform)[0]
    return float(pipeline.process(replace(event, numeric=numeric, text=text)).scores[0])


def kinds_of(config: Any) -> dict[str, str]:
    return {group.name: group.kind for group in new_pipeline(config).features.groups}


DETECTORS = (
    "half_space_forest",
    "adaptive_ensemble",
    "ensemble",
    "autoencoder",
    "classifier_none",
    "river_trees",
)


@pytest.mark.parametrize("kind", DETECTORS)
def test_what_is_said_is_true_by_another_way_and_to_the_last_bit(kind: str) -> None:
    config = settings(kind)
    kinds = kinds_of(config)
    batch = decode(config, RECORDS)
    ahead, behind = new_pipeline(config), new_pipeline(config)
    behind.explains = False
    alerts = told = unadvised = 0
    for start in range(0, COUNT, 400):
        part = batch.take(slice(start, start + 400))
        state = behind.state()
        outcome = ahead.process(part)
        unadvised += outcome.unadvised
        for message in outcome.alerts:
            alert = json.loads(message.value or b"")
            alerts += 1
            if "ordinary" not in alert:
                continue
            ordinary, event = alert["ordinary"], alert["event"]
            said = dict(map(exactly(event, alert, ahead), ordinary["changes"]))
            assert 1 <= len(said) <= 3
            if any(kinds[name] == "time" for name in said):
                continue
            told += 1
            row = alert["receipt"]["offset"] - start
            score = scored_again(config, state, part, row, said)
            assert score == ordinary["score"] < alert["threshold"]
        behind.process(part)
    assert alerts > 20
    assert told > 0.8 * (alerts - unadvised) > 10


def exactly(event: dict[str, Any], alert: dict[str, Any], pipeline: PipelineCore) -> Any:
    """What gives a change's feature and the value of it that was scored, and looks at both."""
    groups = {group.name: group for group in pipeline.features.groups}

    def value_of(change: dict[str, Any]) -> tuple[str, Any]:
        name = change["feature"]
        group = groups[name]
        assert name not in ("user", "place", "colour")  # keys, and values that nobody remembers
        column = group.columns[0]
        low, high = (
            pipeline.features.in_units(column, float(each[column]))
            for each in (pipeline.scaler.low, pipeline.scaler.high)
        )
        if "equals" in change:
            value = change["equals"]
        else:
            own = event.get(name)
            if group.kind not in ("numeric", "boolean"):
                own = pipeline.features.in_units(column, alert["receipt"]["features"][column])
            assert own is not None
            least, most = change.get("at_least", -math.inf), change.get("at_most", math.inf)
            assert least < most
            assert not least <= own <= most
            value = most if own > most else least
        if group.kind == "categorical":
            assert value in ("a", "b", "c", "d")
        elif group.kind == "boolean":
            assert value is True or value is False
        elif group.kind != "time":
            assert low - 1e-5 * abs(low) <= value <= high + 1e-5 * abs(high)
        if name == "items":
            assert value.is_integer()
        if name == "constant":
            assert value == 5
        if name == "rate":
            assert value in (0.0, 1.0)
        return name, value

    return value_of


def test_it_does_not_depend_on_how_the_stream_is_cut() -> None:
    config = settings("adaptive_ensemble")
    whole = bytes_of(run_in_cuts(new_pipeline(config), config, RECORDS, [2000]))
    cut = bytes_of(run_in_cuts(new_pipeline(config), config, RECORDS, list(range(0, COUNT, 7))))
    assert any(b'"ordinary"' in (alert or b"") for alert in whole[1])
    assert whole == cut


def test_it_goes_on_with_the_same_bytes_after_a_restart_within_a_chunk() -> None:
    config = settings()
    whole = bytes_of(run_in_cuts(new_pipeline(config), config, RECORDS, [3000]))
    first, second = new_pipeline(config), new_pipeline(config)
    begun = run_in_cuts(first, config, RECORDS[:3001], [])
    second.restore(first.state())
    assert bytes_of([*begun, *run_in_cuts(second, config, RECORDS[3001:], [])]) == whole


@pytest.mark.parametrize("kind", ["adaptive_ensemble", "classifier_none"])
def test_looking_for_it_changes_nothing(kind: str) -> None:
    config = settings(kind)
    looking, blind = new_pipeline(config), new_pipeline(config)
    blind.explains = False
    for pipeline in (looking, blind):
        run_in_cuts(pipeline, config, RECORDS, [1000])
    states = [bytes(encode(Snapshot({}, dict(each.state())))) for each in (looking, blind)]
    assert states[0] == states[1]


def test_an_event_as_it_was_has_the_features_that_it_had() -> None:
    config = settings()
    pipeline = new_pipeline(config)
    features: FeatureExtractor = pipeline.features
    batch = decode(config, RECORDS)
    batch.mark_ms = np.maximum.accumulate(batch.time_ms)
    for start in range(0, COUNT, 200):
        part = batch.take(slice(start, start + 200))
        raw = features.extract(part)
        for row in (0, 57, 199):
            same = part.take(np.full(3, row))
            again = features.hypothetical(same, row, raw[row], ALL_FIELDS)
            assert again.tobytes() == np.repeat(raw[row : row + 1], 3, axis=0).tobytes()
        features.end_chunk()


def test_another_value_gives_the_features_that_the_event_would_have_had() -> None:
    config = settings()
    batch = decode(config, RECORDS)
    batch.mark_ms = np.maximum.accumulate(batch.time_ms)
    plan = new_pipeline(config).plan
    amount, kind = plan.numeric.index("amount"), plan.text.index("kind")
    first, second = (FeatureExtractor(config, plan) for _ in range(2))
    for start in range(0, 2700, 300):
        part = batch.take(slice(start, start + 300))
        raw = first.extract(part)
        variants = part.take(np.full(2, 250))
        variants.numeric[:, amount] = [12.5, 90_000.0]
        if start >= 2100:
            variants.text[kind][1] = "a"
        changed = part.take(slice(0, 251))
        changed.numeric[250] = variants.numeric[1]
        changed.text[kind][250] = variants.text[kind][1]
        expected = second.extract(changed)[250]
        made = first.hypothetical(variants, 250, raw[250], frozenset({"amount", "kind"}))[1]
        assert made.tobytes() == expected.tobytes()
        # The second goes on as the first did.
        second.restore(first.state())
        for each in (first, second):
            each.end_chunk()


def test_a_threshold_that_nothing_passes_or_everything_says_nothing() -> None:
    everything = configuration(threshold={"score": -1e9, "burn_in": 300}, suppression=None)
    outcome = run_in_cuts(new_pipeline(everything), everything, RECORDS[:400], [])
    assert sum(len(each.alerts) for each in outcome) > 50
    assert not any(b'"ordinary"' in (a.value or b"") for each in outcome for a in each.alerts)


def test_in_a_burst_the_first_of_a_chunk_have_it_however_the_stream_is_cut() -> None:
    config = configuration(
        features=FEATURES[:6],
        detector={"kind": "half_space_forest"},
        threshold={"budget": "20 %", "burn_in": 1000},
        suppression=None,
    )
    whole, cut = new_pipeline(config), new_pipeline(config)
    outcome = run_in_cuts(whole, config, RECORDS, [2000])
    pieces = run_in_cuts(cut, config, RECORDS, list(range(0, COUNT, 7)))
    assert bytes_of(outcome) == bytes_of(pieces)
    unadvised = sum(each.unadvised for each in outcome)
    assert unadvised == sum(each.unadvised for each in pieces)
    bodies = [json.loads(a.value or b"") for each in outcome for a in each.alerts]
    told: dict[int, list[bool]] = {}
    for body in bodies:
        told.setdefault(body["receipt"]["chunk"], []).append("ordinary" in body)
    assert any(len(each) > MOST_ADVISED for each in told.values())
    assert not any(any(each[MOST_ADVISED:]) for each in told.values())
    assert unadvised == sum(max(len(each) - MOST_ADVISED, 0) for each in told.values()) > 0
    assert sum(map(sum, told.values())) > 20


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_a_readable_number_lies_on_the_way(value: float, toward: float) -> None:
    found = readable(value, toward)
    assert min(value, toward) <= found <= max(value, toward)
    if abs(value - toward) > 0.02 * abs(value):
        assert float(f"{found:.2e}") == found


def test_an_alert_is_read_with_it_and_without_it() -> None:
    config = settings()
    alerts = bytes_of(run_in_cuts(new_pipeline(config), config, RECORDS, []))[1]
    bodies = [json.loads(alert or b"") for alert in alerts]
    told = next(body for body in bodies if "ordinary" in body)
    text = alert_text(json.dumps(told).encode())
    assert ordinary_sentence(told["ordinary"]) in text
    assert "would be normal" in text
    del told["ordinary"]
    assert "would be normal" not in alert_text(json.dumps(told).encode())
    for wrong in ({"changes": []}, {"changes": [3]}, {"changes": [{"feature": "a"}]}, 7):
        told["ordinary"] = wrong
        assert alert_text(json.dumps(told).encode()).startswith("not an alert")
