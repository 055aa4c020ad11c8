"""One model at work: a detector, the threshold of its scores, and what answers a drift.

A pipeline has one that alerts, the champion, and may have a second in its shadow, the challenger.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import DetectorConfig, DriftConfig, ThresholdConfig
from stream_detector.detectors.base import Rows
from stream_detector.detectors.registry import build_detector
from stream_detector.drift import DriftEvent, DriftWatch
from stream_detector.events import Float64, Int64, State
from stream_detector.threshold import AlertPace, AlertThreshold


class Model:
    """A detector with its threshold and its watches.

    State: the detector's, the threshold's, the watches', and until when learning is faster.

    Attributes:
        detector: scores and learns.
        threshold: decides.
        watched: what drift is looked for in, and in which feature (None: not in one of them).
        began: events that the stream had when the detector began: 0, unless it came to a running
            stream or was reset.
    """

    def __init__(
        self,
        detector: DetectorConfig,
        threshold: ThresholdConfig,
        drift: Sequence[DriftConfig],
        features: Sequence[str],
    ) -> None:
        """Build the parts; ``features`` are the names of the columns.

        Raises ``ConfigurationError`` where River does not take what it is given.
        """
        self._config, self._drift, self._width = detector, drift, len(features)
        self.detector = build_detector(detector, self._width)
        self.threshold = AlertThreshold(threshold)
        columns = [features if each.on == "inputs" else [None] for each in drift]
        self._watches = [
            DriftWatch(each, names, index)
            for index, (each, names) in enumerate(zip(drift, columns, strict=True))
        ]
        self.watched: list[tuple[str, str | None]] = [
            (each.on, name) for each, names in zip(drift, columns, strict=True) for name in names
        ]
        self._faster_until = 0
        self._times = 1
        self.began = 0

    @property
    def uses_labels(self) -> bool:
        """Whether the detector learns from labels."""
        return self.detector.uses_labels

    @property
    def score_scale(self) -> int:
        """Number of the scale of its scores: another after a reset, or where the detector says."""
        return 2 * self.began + self.detector.score_scale

    def score(self, rows: Rows, first: int, last: int) -> Float64:
        """Scores of rows ``first`` to ``last`` of a chunk, computed in the detector's blocks."""
        block = self.detector.block_rows
        low, high = first // block * block, -(-last // block) * block
        return self.detector.score(rows.take(slice(low, high)))[first - low : last - low]

    def correct(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Other labels for rows learnt; which of them met one that is remembered."""
        return self.detector.correct(ids, labels)

    # --- drift ---

    def watch(
        self, features: Float64, scores: Float64, labelled: Rows, labels: Float64
    ) -> list[DriftEvent]:
        """Look for drift in a full chunk that was not learnt yet.

        Args:
            features: (events, features) of the chunk, finite.
            scores: (events,) as given on arrival.
            labelled: earlier events whose labels are known now.
            labels: theirs, 1 or 0.
        """
        changes: list[DriftEvent] = []
        for config, watch in zip(self._drift, self._watches, strict=True):
            if config.on == "inputs":
                changes += watch.learn(features)
            elif config.on == "score":
                changes += watch.learn(scores[:, None])
            elif len(labels):
                losses = self.detector.losses(labelled, labels)
                changes += watch.learn(losses[:, None])
        return changes

    def answer(self, changes: Sequence[DriftEvent], sequence: int) -> int | None:
        """Do what is configured for each change, before the chunk is learnt.

        Args:
            changes: what was found.
            sequence: events so far.

        Returns:
            Events whose weight the scaler should keep; None: all; 0 where a model begins anew.
        """
        kept: int | None = None
        for index in dict.fromkeys(change.watch for change in changes):
            drift = self._drift[index]
            if drift.answer == "faster":
                self._faster_until = max(self._faster_until, sequence + drift.events)
                self._times = drift.times
                kept = drift.events if kept is None else min(kept, drift.events)
            elif drift.answer == "reset":
                self._reset(drift.member, sequence)
                kept = 0
        return kept

    def _reset(self, member: str | None, sequence: int) -> None:
        fresh = build_detector(self._config, self._width)
        if member is None:
            self.detector, self.began = fresh, sequence
            self.threshold.reset()
        else:
            # A member's place in the state is its own: the rest goes on as it was.
            branches = self.detector.members[member]
            untaught = fresh.state()
            state = {**self.detector.state(), **{name: untaught[name] for name in branches}}
            self.detector.restore(state)
        for watch in self._watches:
            watch.restart()  # one jump, one reset: what comes next is the new normal

    # --- learning ---

    def learn(self, rows: Rows, sequence: int) -> None:
        """Learn a chunk without labels; ``sequence`` counts the events up to its end."""
        for _ in range(self._repeats(sequence)):
            self.detector.learn(rows)

    def learn_labels(self, rows: Rows, labels: Float64, sequence: int) -> None:
        """Learn earlier events whose labels are known now."""
        if self.uses_labels and len(labels):
            for _ in range(self._repeats(sequence)):
                self.detector.learn(rows, labels)

    def _repeats(self, sequence: int) -> int:
        return self._times if sequence <= self._faster_until else 1

    def learn_threshold(
        self,
        scores: Float64,
        raised: NDArray[np.bool_],
        pace: AlertPace,
        score_scale: int,
        sequence: int,
    ) -> None:
        """Learn a chunk's scores; none of another scale than those that are to come.

        Args:
            scores: (events,) as they were given.
            raised: (events,) which of them alerted.
            pace: the stream's time at the chunk's end.
            score_scale: of the detector then.
            sequence: events up to the chunk's end.
        """
        if self.began == sequence:
            return  # another detector gave them
        self.threshold.learn(scores, raised, pace)
        if self.score_scale != score_scale:
            self.threshold.reset()
            for config, watch in zip(self._drift, self._watches, strict=True):
                if config.on != "inputs":
                    watch.restart()  # the model's own change must not be found for a drift

    # --- state ---

    def state(self) -> State:
        """Everything that learning has changed."""
        watches = zip(self._drift, self._watches, strict=True)
        return {
            "detector": self.detector.state(),
            "threshold": self.threshold.state(),
            "drift": {
                "watches": [
                    {"config": config.model_dump(mode="json"), "state": watch.state()}
                    for config, watch in watches
                ],
                "faster_until": self._faster_until,
                "times": self._times,
                "began": self.began,
            },
        }

    def restore(self, state: State) -> None:
        """Continue from ``state``. Raises ``StateMismatchError`` where it does not fit.

        A watch whose entry in the section `drift` is another now begins anew.
        """
        self.detector.restore(state["detector"])
        self.threshold.restore(state["threshold"])
        drift = state.get("drift")
        if drift is None:  # written before there were any
            return
        self._faster_until, self._times = int(drift["faster_until"]), int(drift["times"])
        self.began = int(drift["began"])
        watches = zip(self._drift, self._watches, drift["watches"], strict=False)
        for config, watch, stored in watches:
            if config.model_dump(mode="json") == stored["config"]:
                watch.restore(stored["state"])
