"""Has something changed for good? River's drift detectors on what a model sees and says.

The means of ``BLOCK_EVENTS`` events go to the detectors: one value in 32 costs a 32nd, and a mean
of 32 shows a shift of the crowd where single events show their spread. Each column is held against
its own first ``REFERENCE_BLOCKS`` means, so that what a detector gets is in standard deviations,
whatever the unit. (ADWIN's bound is for values that span 1: Bifet and Gavaldà 2007, "Learning from
time-changing data with adaptive windowing", section 3; it gets them at that scale.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from stream_detector.config.models.config import DriftConfig
from stream_detector.detectors.river_pickle import RIVER_VERSION, dump_model, load_model
from stream_detector.detectors.stored import read_array, read_count
from stream_detector.errors import ConfigurationError, StateError, StateMismatchError
from stream_detector.events import Float64, State

BLOCK_EVENTS = 32
REFERENCE_BLOCKS = 64

_LIMIT = 8.0
"""Deviations of a block's mean are clipped at ± this: a change lasts, a wild block does not."""

_UNIT = 8.0
"""Deviations that are 1 to ADWIN. Means of 32 hardly ever span more; a change may, and should."""

_LARGEST = 1e100

_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "adwin": {"delta": 0.002},  # River's
    "page_hinkley": {"delta": 0.5, "threshold": 50.0},  # River's is for another scale
    "kswin": {"alpha": 1e-5, "seed": 0},  # River's 0.005 is wrong once in 200 values
}
_KINDS = {"adwin": "ADWIN", "page_hinkley": "PageHinkley", "kswin": "KSWIN"}
_SHARED = {"adwin": "delta", "kswin": "alpha"}
"""The parameter that is a significance, to be shared among the columns that are watched."""


@dataclass(frozen=True, slots=True)
class DriftEvent:
    """A drift that was found.

    Attributes:
        watch: index of the section's entry that found it.
        on: ``score``, ``inputs`` or ``error``.
        feature: the column, of ``inputs`` only.
        before: mean at the time that it is held against.
        after: mean of the latest events, in the same unit.
    """

    watch: int
    on: str
    feature: str | None
    before: float
    after: float


class DriftWatch:
    """Watches the means of some columns. One detector a column; each begins anew when it strikes.

    State: of each column the reference and the detector's own; rows short of a block.
    """

    def __init__(self, config: DriftConfig, names: Sequence[str | None], index: int = 0) -> None:
        """Watch columns called ``names``; ``index`` says which entry of the section this is.

        Raises ``ConfigurationError`` where River does not take the parameters.
        """
        self._config, self._names, self._index = config, names, index
        width = len(names)
        self._seen = 0
        self._rest: Float64 = np.empty((0, width))
        self._reference: Float64 = np.zeros((REFERENCE_BLOCKS, width))
        self._filled = np.zeros(width, dtype=np.int64)
        self._mean: Float64 = np.zeros(width)
        self._deviation: Float64 = np.zeros(width)
        self._detectors = [self._build() for _ in names]

    def _build(self) -> Any:
        method = self._config.method
        arguments: dict[str, Any] = dict(_DEFAULTS[method])
        if method in _SHARED:
            arguments[_SHARED[method]] /= max(len(self._names), 1)
        try:
            return _class_of(method)(**{**arguments, **self._config.parameters})
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f"drift: river.drift.{_KINDS[method]} does not take "
                f"{self._config.parameters}: {error}"
            ) from error

    def learn(self, values: Float64) -> list[DriftEvent]:
        """Take in the next rows, (rows, columns) finite, in order; what has changed by them."""
        before, self._seen = self._seen, self._seen + len(values)
        values = values[max(self._config.begin - before, 0) :]
        if not len(values):
            return []
        values = np.clip(values, -_LARGEST, _LARGEST)
        rows = np.concatenate([self._rest, values]) if len(self._rest) else values
        blocks = len(rows) // BLOCK_EVENTS
        self._rest = rows[blocks * BLOCK_EVENTS :].copy()
        rows = rows[: blocks * BLOCK_EVENTS]
        # Transposed, so that a sum runs over one column's values in a row: the same order, and
        # bits, however many columns there are.
        columns = np.ascontiguousarray(rows.T)
        means = columns.reshape(len(self._names), blocks, BLOCK_EVENTS).mean(axis=2)
        changes = [self._learn_column(column, each) for column, each in enumerate(means)]
        return [change for change in changes if change is not None]

    def _learn_column(self, column: int, means: Float64) -> DriftEvent | None:
        room = REFERENCE_BLOCKS - int(self._filled[column])
        if room > 0:
            taken = means[:room]
            start = REFERENCE_BLOCKS - room
            self._reference[start : start + len(taken), column] = taken
            self._filled[column] += len(taken)
            if self._filled[column] == REFERENCE_BLOCKS:
                self._mean[column] = self._reference[:, column].mean()
                self._deviation[column] = self._reference[:, column].std()
            means = means[room:]
        detector = self._detectors[column]
        for each in self._standardised(column, means).tolist():
            detector.update(each)
            if detector.drift_detected:
                # Those of the chunk after it are forgotten too: little, and one chunk, one change.
                change = DriftEvent(
                    self._index,
                    self._config.on,
                    self._names[column],
                    float(self._mean[column]),
                    float(means.mean()),
                )
                self._begin_anew(column)
                return change
        return None

    def _standardised(self, column: int, means: Float64) -> Float64:
        mean, deviation = self._mean[column], self._deviation[column]
        least = max(abs(mean) * 1e-9, 1e-300)  # a constant: whatever differs is far away
        values: Float64 = np.clip((means - mean) / max(deviation, least), -_LIMIT, _LIMIT)
        if self._config.method == "adwin":
            values = values / _UNIT
        return values

    def _begin_anew(self, column: int) -> None:
        self._filled[column] = 0
        self._detectors[column] = self._build()

    def restart(self) -> None:
        """Forget all that was seen, but not that the stream's beginning is over."""
        self._rest = self._rest[:0]
        for column in range(len(self._names)):
            self._begin_anew(column)

    def state(self) -> State:
        """References, rest and detectors."""
        return {
            "seen": self._seen,
            "rest": self._rest.copy(),
            "reference": self._reference.copy(),
            "filled": self._filled.copy(),
            "mean": self._mean.copy(),
            "deviation": self._deviation.copy(),
            "detectors": dump_model([_without_methods(each) for each in self._detectors]),
            "river_version": RIVER_VERSION,
        }

    def restore(self, state: State) -> None:
        """Take the state in.

        Raises ``StateMismatchError`` where it is of other columns, another method or release of
        River, ``StateError`` where the stored bytes are no detectors.
        """
        width = len(self._names)
        rest = read_array(state, "rest", (-1, width), low=-_LARGEST, high=_LARGEST)
        content = read_array(state, "detectors", (-1,), np.uint8)
        stored = load_model(content, str(state.get("river_version")), list)
        fresh = [self._build() for _ in self._names]
        kind = _class_of(self._config.method)
        if len(stored) != width or len(rest) >= BLOCK_EVENTS:
            raise StateMismatchError(f"drift: the state is not of {width} columns")
        for one, twin in zip(stored, fresh, strict=True):
            if type(one) is not kind:
                raise StateMismatchError(f"drift: expected a {kind.__name__}, found {one!r:.80}")
            if not {*vars(twin)} >= {*vars(one)}:
                raise StateError("drift: a stored detector has more to it than it should")
            vars(twin).update(vars(one))
        size: dict[str, Any] = {"low": -_LARGEST, "high": _LARGEST}
        self._reference = read_array(state, "reference", (REFERENCE_BLOCKS, width), **size)
        self._filled = read_array(state, "filled", (width,), np.int64, low=0, high=REFERENCE_BLOCKS)
        self._mean = read_array(state, "mean", (width,), **size)
        self._deviation = read_array(state, "deviation", (width,), low=0.0, high=_LARGEST)
        self._seen = read_count(state, "seen")
        self._rest, self._detectors = rest, fresh


def _class_of(method: str) -> type:
    # River's brings SciPy's statistics along, which take two seconds: for those who watch only.
    found: type = getattr(import_module("river.drift"), _KINDS[method])
    return found


def _without_methods(detector: Any) -> Any:
    """A copy without the bound method that River's ``PageHinkley`` keeps of itself.

    A pickle names it by ``getattr``, which the reader refuses.
    """
    bare = object.__new__(type(detector))
    kept = {name: value for name, value in vars(detector).items() if not callable(value)}
    vars(bare).update(kept)
    return bare
