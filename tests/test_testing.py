"""``check_detector``: our own detectors pass, and each broken obligation fails the right check."""

# ruff: noqa: ARG002, NPY002 - what is broken here is broken on purpose
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_detectors import CONFIGURATIONS, build

from stream_detector.detectors.base import Detector, DetectorConfig, Rows
from stream_detector.detectors.stored import read_array, read_count
from stream_detector.testing import check_detector, detector_checks


class SpreadConfig(DetectorConfig):
    """Squared distance from the mean of all rows."""


class Spread(Detector):
    Config = SpreadConfig

    def __init__(self, features: int, *, seed: int = 0) -> None:
        super().__init__(features)
        self._sum, self._rows = np.zeros(features), 0

    def score(self, rows: Rows) -> Any:
        values = np.clip(rows.standardised, -10, 10)
        return ((values - self._sum / max(self._rows, 1)) ** 2).sum(axis=1)

    def learn(self, rows: Rows, labels: Any = None) -> None:
        self._sum = self._sum + np.clip(rows.standardised, -10, 10).sum(axis=0)
        self._rows += len(rows)

    def state(self) -> Any:
        return {"sum": self._sum.copy(), "rows": self._rows}

    def restore(self, state: Any) -> None:
        self._sum = read_array(state, "sum", (self.features,))
        self._rows = read_count(state, "rows")


class ChangesState(Spread):
    def score(self, rows):
        self._rows += 1
        return super().score(rows)


class LearnsBeforeItsTurn(Spread):
    def score(self, rows):
        found = super().score(rows)
        self._seen = float(rows.standardised.mean())
        return found

    def learn(self, rows, labels=None):
        super().learn(rows)
        self._sum = self._sum + getattr(self, "_seen", 0.0)


class LosesState(Spread):
    def __init__(self, features, *, seed=0):
        super().__init__(features, seed=seed)
        self._last = 0.0

    def learn(self, rows, labels=None):
        super().learn(rows)
        self._last = float(rows.features.sum())

    def score(self, rows):
        return super().score(rows) + np.tanh(self._last)


class Grows(Spread):
    def __init__(self, features, *, seed=0):
        super().__init__(features, seed=seed)
        self._kept = np.empty(0)

    def learn(self, rows, labels=None):
        super().learn(rows)
        self._kept = np.concatenate([self._kept, rows.features[:, 0]])

    def state(self):
        return {**super().state(), "kept": self._kept.copy()}

    def restore(self, state):
        super().restore(state)
        self._kept = read_array(state, "kept", (-1,))


class NotFinite(Spread):
    def score(self, rows):
        return (rows.features**2).sum(axis=1)


class DependsOnTheOthers(Spread):
    def score(self, rows):
        return super().score(rows) - rows.standardised.mean()


class DrawsWithoutSeed(Spread):
    def __init__(self, features, *, seed=0):
        super().__init__(features, seed=seed)
        self._sum = np.random.normal(size=features)


class SharesItsState(Spread):
    def learn(self, rows, labels=None):
        self._sum += np.clip(rows.standardised, -10, 10).sum(axis=0)
        self._rows += len(rows)

    def state(self):
        return {"sum": self._sum, "rows": self._rows}


class TakesNaNForALabel(Spread):
    labels = "used"

    def learn(self, rows, labels=None):
        super().learn(rows.take(slice(None) if labels is None else labels != 0))


class UsesNoLabels(Spread):
    labels = "used"

    def learn(self, rows, labels=None):
        if labels is None:
            super().learn(rows)


class TakesAnyState(Spread):
    def restore(self, state):
        self._sum, self._rows = np.array(state.get("sum", self._sum)), state.get("rows", 0)


class StoresObjects(Spread):
    def state(self):
        return {**super().state(), "rows_seen": np.int64(self._rows)}


class BlamesNegatively(Spread):
    def contributions(self, rows):
        return np.clip(rows.standardised, -10, 10)


class UndescribedConfig(DetectorConfig):
    """A detector."""

    half_life: float = 3.0


class Undeclared(Spread):
    Config = UndescribedConfig


BROKEN = {
    ChangesState: "check_score_is_pure",
    LearnsBeforeItsTurn: "check_score_changes_nothing_learnt_later",
    LosesState: "check_restored_goes_on",
    Grows: "check_memory_is_bounded",
    NotFinite: "check_scores_are_finite",
    DependsOnTheOthers: "check_score_does_not_depend_on_the_cut",
    DrawsWithoutSeed: "check_same_stream_same_bits",
    SharesItsState: "check_state_is_a_copy",
    TakesNaNForALabel: "check_labels",
    UsesNoLabels: "check_labels",
    TakesAnyState: "check_wrong_state_is_refused",
    StoresObjects: "check_state_can_be_stored",
    BlamesNegatively: "check_contributions",
    Undeclared: "check_declaration",
}


def test_a_detector_that_keeps_the_contract_passes() -> None:
    check_detector(Spread)


@pytest.mark.parametrize("detector", BROKEN, ids=lambda each: each.__name__)
def test_a_broken_obligation_fails_its_check(detector: type[Detector]) -> None:
    with pytest.raises(AssertionError, match=f"^{BROKEN[detector]}: "):
        {check.__name__: check for check in detector_checks()}[BROKEN[detector]](detector)


def test_every_check_has_a_detector_that_fails_it() -> None:
    assert set(BROKEN.values()) == {check.__name__ for check in detector_checks()}


@pytest.mark.parametrize("name", [n for n in CONFIGURATIONS if not n.startswith("river")])
@pytest.mark.parametrize("check", detector_checks(), ids=lambda each: each.__name__)
def test_our_own_detectors_pass(check, name: str) -> None:
    check(lambda features: build(name, features=features))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Rows(np.zeros((17, 5)), np.zeros((17, 5))), "multiple of 32 rows, got 17"),
        (Rows(np.zeros((32, 4)), np.zeros((32, 4))), r"float64 \(32, 5\), got float64 \(32, 4\)"),
        (Rows(np.zeros(32), np.zeros(32)), r"float64 \(32, 5\), got float64 \(32,\)"),
        (Rows(np.zeros((32, 5), np.float32), np.zeros((32, 5))), "got float32"),
        (Rows(np.zeros((32, 5)), np.zeros((64, 5))), "rows.standardised"),
        (np.zeros((32, 5)), "expected Rows, got ndarray"),
    ],
)
def test_rows_of_a_wrong_shape_are_a_value_error(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spread(5).score(rows)
    with pytest.raises(ValueError, match=message):
        build("loda", features=5).contributions(rows)


def test_labels_of_another_length_are_a_value_error() -> None:
    rows = Rows(np.zeros((32, 5)), np.zeros((32, 5)))
    with pytest.raises(ValueError, match=r"labels: expected float64 \(32,\), got float64 \(31,\)"):
        Spread(5).learn(rows, np.zeros(31))
    with pytest.raises(ValueError, match="a number of features from 1, got 0"):
        Spread(0)
