"""Rules at work in the pipeline: what they hide is not alerted, and what disables one is told."""

from __future__ import annotations

from typing import Any

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.stored import LARGEST_COUNT, read_branch, read_count
from stream_detector.events import EventBatch, State
from stream_detector.features import FeatureExtractor
from stream_detector.labels import identities
from stream_detector.monitors import Finding
from stream_detector.pipeline.alerting import AlertWriter, ScoredEvent
from stream_detector.pipeline.batch_result import BatchResult, HiddenAlert
from stream_detector.pipeline.cause import Cause
from stream_detector.pipeline.event_values import EventValues, values_of_finding
from stream_detector.pipeline.following import ReceiptOf
from stream_detector.pipeline.model import Model
from stream_detector.pipeline.rule_alerts import add_disabled, add_late, body_of, compact
from stream_detector.rules import (
    NOTHING,
    Disabling,
    Hidden,
    IncidentAct,
    Raised,
    RuleAdd,
    RuleBook,
    RuleDisable,
    RuleRemove,
    Verdict,
    kind_of,
    read_act,
)
from stream_detector.scaling import RunningScaler

_LONGEST_KEY = 1000
"""A longer key of a record is not remembered of a hidden event."""


class Ruling:
    """Asks the rules about every raised event and finding, and writes what comes of it.

    State: the book's, and where the acts go on.

    Attributes:
        book: the rules.
        next_offset: on the control topic, after the last act that was taken in.
    """

    def __init__(
        self,
        config: Config,
        plan: FieldPlan,
        features: FeatureExtractor,
        writer: AlertWriter,
        *,
        by_id: bool,
    ) -> None:
        """``by_id``: labels come by the ids of their events."""
        self._writer, self._values = writer, EventValues(plan, features)
        self._delay_ms = -1
        if config.labels is not None:
            self._delay_ms = int(config.labels.delay * 1000)
        self._by_id = by_id
        self.book = RuleBook(config.rules)
        self.next_offset = 0

    # --- acts ---

    def act(self, text: str, offset: int, mark_ms: int, outcome: BatchResult) -> IncidentAct | None:
        """Take an act on rules in; what is none of them is given back.

        Args:
            text: as the control topic has it; empty where that was no act.
            offset: of it there; -1 where it comes from elsewhere.
            mark_ms: the stream's watermark.
            outcome: counts it, by its kind and what came of it.

        Raises ``ActError`` where it is none.
        """
        self.next_offset = max(self.next_offset, offset + 1)
        if not text:
            outcome.acts["none", "skipped"] += 1
            return None
        act = read_act(text)
        match act:
            case RuleAdd():
                result = self.book.add(act, mark_ms)
            case RuleRemove():
                result = self.book.remove(act)
            case RuleDisable():
                result = self.book.disable(act)
            case _:
                return act
        outcome.acts[kind_of(act), result] += 1
        return None

    # --- events ---

    def judge(
        self, event: ScoredEvent, model: Model, scaler: RunningScaler, outcome: BatchResult
    ) -> Verdict:
        """Say whether a rule hides a raised event; what disables one is alerted.

        Reasons are looked for where a box covers the event, whoever reads alerts.
        """
        if not self.book:
            return NOTHING
        events, row = event.events, event.row
        known: list[list[dict[str, Any]]] = []

        def reasons() -> list[dict[str, Any]]:
            if not known:
                known.append(self._writer.reasons(event, model.detector, scaler))
            return known[0]

        assert events.mark_ms is not None
        raised = Raised(
            value_of=self._values.of(events, row, event.raw, event.rows.features[0]),
            reasons=reasons,
            rarity=model.threshold.rarity(event.score),
            time_ms=int(events.time_ms[row]),
            mark_ms=int(events.mark_ms[row]),
            rarity_of=model.threshold.rarity,
        )
        verdict = self.book.judge(raised)
        if not verdict.hidden_by and not verdict.disabled:
            return verdict
        body = self._writer.body(event, model.threshold, reasons())
        offset = int(events.offset[row])
        if verdict.hidden_by:
            rule, time_ms, rarity = verdict.hidden_by, raised.time_ms, raised.rarity
            outcome.hidden.append(HiddenAlert(rule, body["id"], offset, time_ms, rarity))
            self.book.remember(self._hidden(rule, event, body))
        cause = Cause(events.source[row], offset)
        for each in verdict.disabled:
            add_disabled(each, body, raised.time_ms, cause, event.receipt, outcome)
        return verdict

    def judge_finding(
        self,
        name: str,
        finding: Finding,
        body: dict[str, Any],
        mark_ms: int,
        cause: Cause,
        outcome: BatchResult,
    ) -> Verdict:
        """The same of a monitor's finding.

        Args:
            name: of the monitor.
            finding: what it has found.
            body: fields of the alert about it.
            mark_ms: the stream's watermark, or the tick's time.
            cause: what has shown it.
            outcome: takes alerts about rules.
        """
        if not self.book:
            return NOTHING
        raised = Raised(
            value_of=values_of_finding(body),
            reasons=list,
            rarity=finding.rarity,
            time_ms=finding.end_ms,
            mark_ms=mark_ms,
            monitor=name,
        )
        verdict = self.book.judge(raised)
        if verdict.hidden_by:
            hidden = HiddenAlert(verdict.hidden_by, body["id"], -1, finding.end_ms, finding.rarity)
            outcome.hidden.append(hidden)
        receipt = {name: body["receipt"][name] for name in ("sequence", "chunk", "state")}
        for each in verdict.disabled:
            add_disabled(each, body, finding.end_ms, cause, receipt, outcome)
        return verdict

    def _hidden(self, rule: str, event: ScoredEvent, body: dict[str, Any]) -> Hidden:
        events, row = event.events, event.row
        time_ms, label = int(events.time_ms[row]), float(events.label[row])
        identity, due_ms = 0, -1
        if self._by_id:
            identity = int(identities([events.event_id[row]])[0])
        elif self._delay_ms >= 0:
            due_ms = int(events.counted_ms[row]) + self._delay_ms
        key = events.record[row].key
        if key is not None and len(key) > _LONGEST_KEY:
            key = None
        return Hidden(rule, identity, due_ms, label == 1, compact(body), key, time_ms)

    # --- labels ---

    def take_labels(self, labels: EventBatch, receipt_of: ReceiptOf, outcome: BatchResult) -> None:
        """Labels have come by the ids of their events."""
        if not len(self.book.hidden_events):
            return
        ids = identities(labels.event_id.tolist()).tolist()
        for row, disabling in self.book.take_labels(ids, labels.label.tolist()):
            cause = Cause(labels.source[row], int(labels.offset[row]))
            self._show(disabling, cause, receipt_of(0), outcome)

    def mature(self, events: EventBatch, receipt_of: ReceiptOf, outcome: BatchResult) -> None:
        """Labels inside earlier events may be known after the last of these, the end of a chunk."""
        if not len(self.book.hidden_events):
            return
        assert events.mark_ms is not None
        cause = Cause(events.source[-1], int(events.offset[-1]))
        for disabling in self.book.mature(int(events.mark_ms[-1])):
            self._show(disabling, cause, receipt_of(0), outcome)

    def _show(
        self, disabling: Disabling, cause: Cause, receipt: dict[str, Any], outcome: BatchResult
    ) -> None:
        """That a rule is disabled where it was not yet, and late what it has hidden."""
        event = disabling.event
        assert event is not None
        body = body_of(event)
        add_disabled(disabling, body, event.time_ms, cause, receipt, outcome)
        add_late(event, body, cause, outcome)

    # --- state ---

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        self.book.go_back(mark_ms, mark_ms + max(self._delay_ms, 0))

    def state(self) -> State:
        """``rules``: the book, and where acts go on; nothing before the first act."""
        if not self.next_offset and not self.book:
            return {}
        return {"rules": {**self.book.state(), "next_offset": self.next_offset}}

    def restore(self, state: State) -> None:
        """Take a pipeline's state in. Raises ``StateMismatchError`` where it makes no sense."""
        if state.get("rules") is None:
            return
        branch = read_branch(state, "rules")
        self.book.restore(branch)
        self.next_offset = read_count(branch, "next_offset", high=LARGEST_COUNT)
