"""Parts of the time are neutral until the stream has been through their cycle."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.decoding import Decoder
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, Int64, PlainRecord, TopicPartition
from stream_detector.features import FeatureExtractor
from stream_detector.pipeline import PipelineCore

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONDAY_MS = 1_709_510_400_000  # 2024-03-04
ALL_PARTS = ("hour_of_day", "night", "day_of_week", "weekend")


def extractor_of(*parts: str) -> FeatureExtractor:
    config = Config.model_validate({"name": "t", "features": [{"time": part} for part in parts]})
    return FeatureExtractor(config, FieldPlan.of(config))


def batch_at(times: Int64) -> EventBatch:
    nothing = np.full(len(times), None, dtype=object)
    return EventBatch(
        source=nothing,
        offset=np.arange(len(times)),
        time_ms=times.astype(np.int64),
        record=nothing,
        rejection=nothing,
        event_id=nothing,
        numeric=np.zeros((len(times), 0)),
        text=(),
        label=np.full(len(times), np.nan),
    )


def known_from(parts: str, times: Int64) -> int:
    """Row from which on a part is known; the number of rows where it never is."""
    known = ~np.isnan(extractor_of(parts).extract(batch_at(times))[:, 0])
    first = int(known.argmax()) if known.any() else len(times)
    assert known[first:].all()
    return first


def test_a_part_is_known_after_one_cycle_of_the_stream() -> None:
    quarters = MONDAY_MS + 9 * HOUR_MS + np.arange(0, 10 * DAY_MS, HOUR_MS // 4)
    assert known_from("hour_of_day", quarters) == known_from("night", quarters) == 96
    assert known_from("day_of_week", quarters) == known_from("weekend", quarters) == 7 * 96


def test_hours_of_silence_are_not_known_by_the_next_event() -> None:
    early = MONDAY_MS + np.arange(0, HOUR_MS, 60_000)
    times = np.concatenate([early, early + 3 * DAY_MS])
    assert known_from("hour_of_day", times) == len(times)


def test_a_stream_of_office_hours_is_known_after_some_days() -> None:
    days = np.arange(10)[:, None] * DAY_MS
    times = (MONDAY_MS + 9 * HOUR_MS + days + np.arange(0, 8 * HOUR_MS, 60_000)).ravel()
    first = known_from("hour_of_day", times)
    assert 2 <= first / (8 * 60) < 3


def test_scored_at_one_moment_and_learnt_at_all_of_them() -> None:
    extractor = extractor_of(*ALL_PARTS)
    raw = extractor.extract(batch_at(MONDAY_MS + np.arange(2000) * 1000))
    assert np.isnan(raw).all()
    scored = extractor.calendar.scored(raw)
    assert np.isfinite(scored).all()
    assert (scored == scored[0]).all()
    learnt = extractor.calendar.learnt(raw, first=0)
    hours, night, days, weekend = learnt[:, :2], learnt[:, 2], learnt[:, 3:5], learnt[:, 5]
    assert np.abs(hours.mean(axis=0)).max() < 0.1
    assert np.abs(days.mean(axis=0)).max() < 0.1
    assert len(np.unique(days.round(9), axis=0)) == 7
    assert night.mean() == pytest.approx(1 / 4, abs=0.05)
    assert weekend.mean() == pytest.approx(2 / 7, abs=0.05)
    # One moment for all parts of an event: at night it is early.
    assert (hours[night == 1, 0] >= 0).all()
    assert extractor.calendar.neutral(raw[0]).all()


@settings(max_examples=40, deadline=None)
@given(cuts=st.sets(st.integers(1, 399)), restart=st.integers(0, 399))
def test_same_bits_under_any_cut_and_restart(cuts: set[int], restart: int) -> None:
    steps = np.random.default_rng(3).integers(0, HOUR_MS, 400)
    batch = batch_at(MONDAY_MS + np.cumsum(steps))
    whole = extractor_of(*ALL_PARTS)
    raw = whole.extract(batch)
    learnt = whole.calendar.learnt(raw, first=0)
    extractor, rows = extractor_of(*ALL_PARTS), []
    for start, stop in pairwise(sorted({0, *cuts, restart, 400})):
        if start == restart:
            state = json.loads(json.dumps({"cycles": dict(extractor.state()["cycles"])}))
            extractor = extractor_of(*ALL_PARTS)
            extractor.restore({**extractor.state(), **state})
        part = extractor.extract(batch.take(slice(start, stop)))
        rows.append(extractor.calendar.learnt(part, first=start))
    assert np.concatenate(rows).tobytes() == learnt.tobytes()


def test_a_state_of_an_older_version_knows_its_cycles() -> None:
    extractor = extractor_of(*ALL_PARTS)
    state = {name: part for name, part in extractor.state().items() if name != "cycles"}
    extractor.restore(state)
    assert np.isfinite(extractor.extract(batch_at(np.array([MONDAY_MS])))).all()


def test_a_state_of_other_cycles_is_refused() -> None:
    extractor = extractor_of(*ALL_PARTS)
    with pytest.raises(StateMismatchError, match="cycles"):
        extractor.restore({**extractor.state(), "cycles": {}})
    with pytest.raises(StateMismatchError, match="covered_ms"):
        extractor.restore({**extractor.state(), "cycles": {str(n): {} for n in range(4)}})


def test_a_watermark_that_was_wrong_covers_no_cycle() -> None:
    extractor = extractor_of("hour_of_day")
    extractor.extract(batch_at(np.array([MONDAY_MS, MONDAY_MS + 30 * DAY_MS])))
    extractor.go_back(MONDAY_MS)
    times = MONDAY_MS + np.arange(1, 24) * HOUR_MS
    assert np.isnan(extractor.extract(batch_at(times))[:-1]).all()


def scores_of(days: int, kind: str, parts: tuple[str, ...] = ALL_PARTS) -> tuple[Any, Any]:
    """Scores of an even stream without anything strange, and the time of each event in days."""
    config = Config.model_validate(
        {
            "name": "even",
            "event": {"time": {"field": "ts", "format": "unix_ms"}},
            "features": [{"numeric": "x"}, *({"time": part} for part in parts)],
            "detector": {"kind": kind},
            "threshold": {"budget": "0.5 %", "burn_in": 500},
        }
    )
    count = days * 400
    times = MONDAY_MS + 9 * HOUR_MS + np.arange(count) * (DAY_MS // 400)
    x = np.random.default_rng(1).normal(size=count)
    records = [
        PlainRecord(row, -1, None, json.dumps({"ts": int(t), "x": v}).encode())
        for row, (t, v) in enumerate(zip(times, x, strict=True))
    ]
    decoder, pipeline = (
        Decoder(config, FieldPlan.of(config)),
        PipelineCore(config, state_fingerprint(config)),
    )
    batch = decoder.decode(TopicPartition("even", 0), records)
    return pipeline.process(batch).scores, (times - MONDAY_MS) / DAY_MS


@pytest.mark.parametrize("kind", ["adaptive_ensemble", "ensemble", "half_space_forest", "loda"])
def test_no_midnight_no_weekend_and_no_second_day_stands_out(kind: str) -> None:
    scores, days = scores_of(16, kind)
    usual = np.quantile(scores[days >= 2], 0.99)
    for begin in (1.0, 9 / 24 + 1, 5.0, 7.0, 7 + 9 / 24, 12.0, 14.0):
        after = scores[(days >= begin) & (days < begin + 0.15)]
        # Saturday and Sunday are rarer than a weekday and may look so: never all of their events.
        assert np.mean(after > usual) < 0.3, begin


def test_a_part_that_is_not_known_is_no_reason_of_an_alert() -> None:
    config = Config.model_validate(
        {
            "name": "t",
            "event": {"time": {"field": "ts", "format": "unix_ms"}},
            "features": [{"numeric": "x"}, *({"time": part} for part in ALL_PARTS)],
            "threshold": {"score": 0.0, "burn_in": 0},
        }
    )
    values = np.random.default_rng(2).normal(size=300)
    values[-1] = 40.0
    records = [
        PlainRecord(row, -1, None, json.dumps({"ts": MONDAY_MS + row * 1000, "x": x}).encode())
        for row, x in enumerate(values)
    ]
    pipeline = PipelineCore(config, state_fingerprint(config))
    batch = Decoder(config, FieldPlan.of(config)).decode(TopicPartition("t", 0), records)
    result = pipeline.process(batch)
    assert result.alerts
    for alert in result.alerts:
        assert alert.value is not None
        body = json.loads(alert.value)
        assert {reason["feature"] for reason in body["reasons"]} <= {"x"}
