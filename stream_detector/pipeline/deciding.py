"""From scores to what is told of them: findings of monitors and alerts, in the events' order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.base import Rows
from stream_detector.detectors.stored import read_branch
from stream_detector.events import EventBatch, Float64, State
from stream_detector.features import FeatureExtractor
from stream_detector.pipeline.alerting import AlertWriter, ScoredEvent, WrittenAlert
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.cause import Cause
from stream_detector.pipeline.following import FollowingEvents, Place, ReceiptOf
from stream_detector.pipeline.incidents import Incidents
from stream_detector.pipeline.model import Model
from stream_detector.pipeline.monitoring import Monitors
from stream_detector.pipeline.ruling import Ruling
from stream_detector.pipeline.scoring import ScoredRows
from stream_detector.rules import kind_of
from stream_detector.scaling import RunningScaler
from stream_detector.tables.lookups import Lookups


@dataclass(frozen=True, slots=True)
class ScoredPart:
    """Events that were just scored.

    Attributes:
        events: those.
        scores: (events,) float64.
        raised: (events,) bool, above the threshold.
        raw: (events, features) float64, as extracted.
        rows: the same as they were scored.
        first: row of the first of them in its chunk, or in a block of one.
        lookups: of their keys, where windows have looked these up.
        raised_before: events of the chunk before these that were raised.
    """

    events: EventBatch
    scores: Float64
    raised: NDArray[np.bool_]
    raw: Float64
    rows: Rows
    first: int
    lookups: Lookups | None = None
    raised_before: int = 0

    @classmethod
    def of(
        cls,
        events: EventBatch,
        scored: ScoredRows,
        first: int,
        lookups: Lookups | None = None,
        raised_before: int = 0,
    ) -> ScoredPart:
        """Events with their scores; the rest as above."""
        parts = (scored.scores, scored.raised, scored.raw, scored.rows)
        return cls(events, *parts, first, lookups, raised_before)

    def scored(self, row: int, rank: int, receipt: dict[str, Any]) -> ScoredEvent:
        """One of the events.

        Args:
            row: which of them.
            rank: how many of its chunk were raised before it.
            receipt: where in the stream and by which state it was scored.
        """
        return ScoredEvent(
            events=self.events,
            row=row,
            raw=self.raw[row],
            rows=self.rows.take(slice(row, row + 1)),
            score=float(self.scores[row]),
            place=self.first + row,
            rank=rank,
            receipt=receipt,
        )


class Decisions:
    """What comes of events that are scored.

    State: suppressed keys; the rules', the monitors' and the incidents'.

    Attributes:
        ruling: rules of people, which hide alerts.
        monitors: look at every event.
        incidents: group what is raised.
        explains: whether alerts are given their reasons; no part of the state.
        advises: whether those that are say what would have been ordinary; likewise.
    """

    def __init__(
        self,
        config: Config,
        fingerprint: str,
        plan: FieldPlan,
        features: FeatureExtractor,
        *,
        by_id: bool,
        extracted: bool = True,
    ) -> None:
        """Build the parts.

        Args:
            config: the configuration.
            fingerprint: of it, for the alerts.
            plan: of its fields.
            features: of its events.
            by_id: whether labels come by the ids of their events.
            extracted: whether the features of every batch come from ``features`` just before.
        """
        self._writer = AlertWriter(config, fingerprint, plan, features, extracted=extracted)
        self.ruling = Ruling(config, plan, features, self._writer, by_id=by_id)
        self.monitors = Monitors(config, fingerprint, plan, self.ruling)
        self.incidents = Incidents(config, fingerprint, plan)
        self.explains = self.advises = True

    def take(
        self,
        part: ScoredPart,
        model: Model,
        scaler: RunningScaler,
        receipt_of: ReceiptOf,
        outcome: BatchResult,
    ) -> None:
        """Add what comes of events, in their order: so it is the same however these are cut.

        Args:
            part: the events.
            model: that has scored them.
            scaler: by which it has.
            receipt_of: gives what a row's alert says of the place in the stream and of the state.
            outcome: takes the alerts.
        """
        incidents = self.incidents.follow(part.events, receipt_of, outcome)
        tell = self.monitors.take(part.events, receipt_of, outcome, incidents, part.lookups)
        rows = np.flatnonzero(part.raised).tolist()
        for rank, row in enumerate(rows, part.raised_before):
            tell(row)
            scored = part.scored(row, rank, receipt_of(row))
            self._alert(scored, model, scaler, outcome, incidents)
        tell(len(part.events))
        if incidents is not None:
            incidents.end()

    def _alert(
        self,
        scored: ScoredEvent,
        model: Model,
        scaler: RunningScaler,
        outcome: BatchResult,
        incidents: FollowingEvents | None,
    ) -> None:
        """Add the alert of one event, unless a rule hides it or its key has alerted lately."""
        verdict = self.ruling.judge(scored, model, scaler, outcome)
        if incidents is None:
            if not verdict.hidden_by:
                written = self._write(scored, model, scaler, verdict.note)
                outcome.add_alert(written.alert)
                outcome.unadvised += written.is_unadvised
            return
        row = scored.row
        told = incidents.at(row)
        # What a rule ran into is heard, whoever sleeps.
        asleep = (
            not verdict.hidden_by
            and verdict.note is None
            and told.is_snoozed(
                lambda: incidents.of_event(row, self._writer.judged(scored, model.threshold))
            )
        )
        if verdict.hidden_by or asleep:
            raised = self._writer.judged(scored, model.threshold)
            outcome.snoozed += asleep
        else:
            raised = self._write(scored, model, scaler, verdict.note)
            outcome.add_alert(raised.alert)
            outcome.unadvised += raised.is_unadvised
        shown = raised.message is not None
        told.take(incidents.of_event(row, raised, shown=shown, hidden_by=verdict.hidden_by))

    def _write(
        self,
        scored: ScoredEvent,
        model: Model,
        scaler: RunningScaler,
        note: dict[str, Any] | None,
    ) -> WrittenAlert:
        return self._writer.write(
            scored,
            model.detector,
            scaler,
            model.threshold,
            explains=self.explains,
            advises=self.advises,
            note=note,
        )

    # --- acts and labels ---

    @property
    def acts_from(self) -> int:
        """Offset on the control topic after the last act that was taken in."""
        return self.ruling.next_offset

    def act(
        self, text: str, cause: Cause, mark_ms: int, receipt: Place, outcome: BatchResult
    ) -> None:
        """Take an act of a person in, of rules or of incidents.

        Args:
            text: as the control topic has it; empty where that was no act.
            cause: where it stands there.
            mark_ms: the stream's watermark.
            receipt: what messages say of the state.
            outcome: takes messages, and counts it by its kind and what came of it.

        Raises ``ActError`` where it is none.
        """
        act = self.ruling.act(text, cause.offset, mark_ms, outcome)
        if act is not None:
            now_ms = max(mark_ms, self.monitors.ticked_ms)
            found = self.incidents.act(act, cause, now_ms, receipt, outcome)
            outcome.acts[kind_of(act), "taken" if found else "unknown"] += 1

    def take_labels(self, labels: EventBatch, receipt_of: ReceiptOf, outcome: BatchResult) -> None:
        """Labels have come by the ids of their events."""
        self.ruling.take_labels(labels, receipt_of, outcome)

    def mature(self, events: EventBatch, receipt_of: ReceiptOf, outcome: BatchResult) -> None:
        """A chunk was learnt, whose last events these are: labels inside of events may be known."""
        self.ruling.mature(events, receipt_of, outcome)

    # --- time and state ---

    def end_chunk(self) -> None:
        """A chunk of events is full."""
        self.incidents.learn()

    @property
    def due_ms(self) -> int | None:
        """The first time at which a tick would change anything; None where none would."""
        due = (self.monitors.due_ms, self.incidents.due_ms)
        return min((one for one in due if one is not None), default=None)

    @property
    def ticks(self) -> bool:
        """Whether a tick may ever change anything."""
        return bool(self.monitors.each) or self.incidents.tracker is not None

    def tick(self, time_ms: int, shard: int, receipt: dict[str, Any], outcome: BatchResult) -> None:
        """Time has come to ``time_ms`` without an event; as ``Monitors.tick``."""
        incidents = self.incidents.at_tick(time_ms, shard, receipt, outcome)
        if incidents is not None:
            incidents.advance()
        self.monitors.tick(time_ms, shard, receipt, outcome, incidents)

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        self._writer.go_back(mark_ms)
        self.ruling.go_back(mark_ms)
        self.monitors.go_back(mark_ms)
        self.incidents.go_back(mark_ms)

    def state(self) -> State:
        """Suppressed keys, and what rules, monitors and incidents keep."""
        rules, monitors = self.ruling.state(), self.monitors.state()
        return {"alerts": self._writer.state(), **rules, **monitors, **self.incidents.state()}

    def restore(self, state: State, mark_ms: int) -> None:
        """Take a pipeline's state in; ``mark_ms`` is the watermark of it.

        Raises ``StateMismatchError`` where it is not that of this configuration.
        """
        self._writer.restore(read_branch(state, "alerts"))
        self._writer.go_back(mark_ms)  # nothing holds back for longer than from now on
        self.ruling.restore(state)
        self.ruling.go_back(mark_ms)
        self.monitors.restore(state, mark_ms)
        self.incidents.restore(state)
