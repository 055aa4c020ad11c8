"""A state whose numbers were changed is refused before it is used, though its checksum fits."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.streams import configuration, new_pipeline, records, run_in_cuts

from stream_detector.errors import StateError

CONFIG = configuration(detector={"kind": "loda", "projections": 20, "bins": 16})
EVENTS = 700


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    pipeline = new_pipeline(CONFIG)
    run_in_cuts(pipeline, CONFIG, records(EVENTS), [])
    return dict(pipeline.state())


def window(state: Any) -> Any:
    return state["features"]["windows"]["user"]


def scale(array: Any, factor: float) -> None:
    array *= factor


def mirrored(array: Any) -> Any:
    return array[:, ::-1].copy()


Change = Callable[[Any], None]
CHANGES: dict[str, Change] = {
    "scores that are not numbers": lambda s: s["detector"]["counts"].fill(np.nan),
    "counts below nothing": lambda s: scale(s["detector"]["counts"], -1),
    "counts that do not add up": lambda s: scale(s["detector"]["counts"][:5], 1000),
    "bins exchanged": lambda s: s["detector"].update(
        counts=s["detector"]["counts"][:, ::-1].copy()
    ),
    "a spread without a range": lambda s: s["scaler"]["variance"].fill(1e200),
    "a mean within its range": lambda s: s["scaler"].update(mean=s["scaler"]["high"].copy()),
    "scores that nothing exceeds": lambda s: s["threshold"]["tail"]["ring"].fill(1e300),
    "a threshold of no score": lambda s: s["threshold"].update(value=np.array(1e300)),
    "a threshold out of reach": lambda s: s["threshold"].update(seconds=1e-300, offset=-6.0),
    "scores of the chunk in hand": lambda s: scale(s["chunk"]["filled"]["scores"], 1e200),
    "rows of the chunk in hand": lambda s: scale(s["chunk"]["filled"]["raw"], 2),
    "a burn-in without end": lambda s: s["drift"].update(began=2**60),
    "a burn-in once more": lambda s: s["drift"].update(began=EVENTS),
    "a stream that begins anew": lambda s: s.update(sequence=0),
    "a chunk of a terabyte": lambda s: s["chunk"].update(size=2**40),
    "a watermark of its own": lambda s: s.update(watermark_ms=s["watermark_ms"] + 10**12),
    "keys of the future": lambda s: window(s)["last_time"].__iadd__(1e12),
    "keys that were never used": lambda s: window(s)["table"]["last_used"].fill(0),
    "texts longer than their bytes": lambda s: window(s)["table"]["keys"]["lengths"].fill(2**62),
    "learning without end": lambda s: s["drift"].update(times=10**9),
    "suppression of nothing": lambda s: s["alerts"]["suppressor"]["until"].append([None, 1, 1]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_state_that_was_changed_is_refused(state: dict[str, Any], change: str) -> None:
    changed = copy.deepcopy(state)
    CHANGES[change](changed)
    with pytest.raises(StateError):
        new_pipeline(CONFIG).restore(changed)


def test_the_state_itself_is_taken_in_and_unchanged_by_its_trial(state: dict[str, Any]) -> None:
    pipeline = new_pipeline(CONFIG)
    pipeline.restore(copy.deepcopy(state))
    again = pipeline.state()
    assert again["probe"]["scores"].tobytes() == state["probe"]["scores"].tobytes()
    assert again["detector"]["counts"].tobytes() == state["detector"]["counts"].tobytes()


def test_a_suppression_for_ever_lasts_one_period(state: dict[str, Any]) -> None:
    changed = copy.deepcopy(state)
    entries = changed["alerts"]["suppressor"]["until"]
    assert entries, "no key was suppressed"
    for entry in entries:
        entry[1] = 2**52
    pipeline = new_pipeline(CONFIG)
    pipeline.restore(changed)
    ends = [until for _, until, _ in pipeline.state()["alerts"]["suppressor"]["until"]]
    assert max(ends) <= pipeline.watermark_ms + 600_000


@pytest.mark.parametrize("older", ["without rows", "of another version"])
def test_states_of_other_versions_are_not_compared_and_it_is_said(
    state: dict[str, Any], older: str, caplog: pytest.LogCaptureFixture
) -> None:
    changed = copy.deepcopy(state)
    if older == "without rows":
        del changed["probe"], changed["probe_rows"]
    else:
        changed["probe"]["version"] = "0.1.9"
        changed["probe"]["scores"] += 1.0
    with caplog.at_level(logging.INFO):
        new_pipeline(CONFIG).restore(changed)
    assert sum("not compared" in record.getMessage() for record in caplog.records) == 1
