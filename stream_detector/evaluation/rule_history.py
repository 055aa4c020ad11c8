"""What a rule covers of alerts that were written, and what a rule hides of a file's events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Source
from stream_detector.decoding import Decoder
from stream_detector.evaluation.backtest import Scored, backtest
from stream_detector.events import EventBatch, PlainRecord, TopicPartition
from stream_detector.features import FeatureExtractor
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.pipeline.batch_result import HiddenAlert
from stream_detector.pipeline.event_values import EventValues, values_of_finding
from stream_detector.pipeline.rule_alerts import RULE_KIND
from stream_detector.rules import Rule, RuleAdd, RulesConfig, time_ms_of
from stream_detector.rules.proposal import Names, Seen

_ALWAYS = ("1970-01-01T00:00:00Z", "2199-01-01T00:00:00Z")
_EXAMPLES = 5


class AlertReader:
    """Reads alerts as rules ask about them: what a field or feature of their event was."""

    def __init__(self, config: Config) -> None:
        # Alerts hold their event as JSON, whatever it was read from.
        event = config.event.model_copy(update={"format": "json", "schema_file": None})
        plan = FieldPlan.of(config)
        self._decoder = Decoder(config.model_copy(update={"event": event}), plan)
        self._features = FeatureExtractor(config, plan)
        self._width = len(self._features.names)
        self.values = EventValues(plan, self._features)
        self.names = _names_of(config, plan, self._features)

    def seen(self, body: Mapping[str, Any]) -> Seen:
        """An alert; values that it does not tell are None."""
        if "monitor" in body:
            return Seen(body, values_of_finding(body))
        told = {str(reason["feature"]): reason["value"] for reason in body["reasons"]}
        vector = np.array(body["receipt"]["features"], dtype=np.float64)
        batch = self._batch(body)

        def value_of(name: str) -> Any:
            found = None
            if batch is not None and len(vector) == self._width:
                found = self.values.of(batch, 0, vector, vector)(name)
            return told.get(name) if found is None else found

        return Seen(body, value_of)

    def _batch(self, body: Mapping[str, Any]) -> EventBatch | None:
        event = body.get("event")
        if not isinstance(event, dict):
            return None
        value, time_ms = msgspec.json.encode(event), time_ms_of(body["event_time"])
        record = PlainRecord(0, time_ms, None, value, ())
        batch = self._decoder.decode(TopicPartition("alerts", 0), [record])
        return batch if batch.rejection[0] is None else None


def _names_of(config: Config, plan: FieldPlan, features: FeatureExtractor) -> Names:
    groups = features.groups
    history = {
        group.name: f"{group.name.rpartition('.')[0]}."
        for group in groups
        if group.kind in ("window", "risk") and "." in group.name
    }
    keys = dict.fromkeys(window.key for window in config.windows)
    if config.suppression is not None:
        keys[config.suppression.key] = None
    values = {
        f"{group.name.rpartition('.')[0]}.": window.value
        for window in config.windows
        if window.value is not None
        for group in groups
        if group.kind == "window" and group.name.startswith(f"{window.key}.")
    }
    kinds = {group.name: group.kind for group in groups}
    return Names(
        own=frozenset(
            [*plan.numeric, *(n for n, k in kinds.items() if k in ("difference", "ratio"))]
        ).difference(plan.boolean),
        history=history,
        keys=tuple(keys),
        values=values,
        categories=frozenset(n for n, k in kinds.items() if k in ("categorical", "boolean")),
    )


@dataclass(slots=True)
class Coverage:
    """What a rule covers of alerts.

    Attributes:
        alerts: that were looked at.
        unclear: those of them whose event is not inside, so that nothing can be said.
        covered: that lie within, by day of event time.
        positive: ids of those within that a label calls a hit.
        negative: how many of those within a label calls a false alarm.
        rarer: how many of those within would have disabled the rule.
        examples: the first few within.
    """

    alerts: int = 0
    unclear: int = 0
    covered: Counter[str] = field(default_factory=Counter)
    positive: list[str] = field(default_factory=list)
    negative: int = 0
    rarer: int = 0
    examples: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def busiest(self) -> int:
        """Most within in a day."""
        return max(self.covered.values(), default=0)


def coverage(
    rule: Rule, alerts: Iterable[Seen], labels: Mapping[str, float] | None = None
) -> Coverage:
    """Hold a rule against alerts.

    Args:
        rule: the rule; its times are not asked.
        alerts: what to look at.
        labels: 1 or 0 by the id of an event.
    """
    found = Coverage()
    for alert in alerts:
        body = alert.body
        if body.get("kind") == RULE_KIND:
            continue
        found.alerts += 1
        if not alert.monitor and not isinstance(body.get("event"), dict):
            found.unclear += 1
        reasons = [dict(reason) for reason in alert.reasons]
        within = rule.monitor == alert.monitor and rule.box.covers(alert.value_of)
        if not within or not rule.explains(reasons):
            continue
        label = (labels or {}).get(str(body["event_id"]))
        if label == 1:
            found.positive.append(str(body["id"]))
        elif label == 0:
            found.negative += 1
        found.rarer += float(body["rarity"]) >= rule.stranger_from(None)
        found.covered[str(body["event_time"])[:10]] += 1
        if len(found.examples) < _EXAMPLES:
            found.examples.append(body)
    return found


@dataclass(slots=True)
class Hiding:
    """What a rule hides of a file.

    Attributes:
        events: of the file.
        raised: of them, those above the threshold.
        hidden: of these, those that the rule hides, by day of event time.
        positive: places of those hidden that are labelled anomalous.
        negative: how many of those hidden are labelled normal.
        rarer: how many of those hidden would have disabled the rule.
        examples: places of the first few hidden.
    """

    events: int = 0
    raised: int = 0
    hidden: Counter[str] = field(default_factory=Counter)
    positive: list[str] = field(default_factory=list)
    negative: int = 0
    rarer: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def busiest(self) -> int:
        """Most hidden in a day."""
        return max(self.hidden.values(), default=0)


def hiding(
    rule: Rule,
    config: Config,
    source: Source,
    progress: Callable[[int], None] = lambda _events: None,
) -> Hiding:
    """Run a file through the pipeline with a rule that always holds and is never disabled.

    Raises ``ConnectorError`` where the source fails.
    """
    # Nothing is remembered, so no label disables it; and no rarity, and no number in a day.
    settings = RulesConfig(max_hidden=0)
    config = config.model_copy(update={"rules": settings})
    pipeline = PipelineCore(config, state_fingerprint(config))
    made, expires = _ALWAYS
    always = msgspec.structs.replace(rule, made=made, expires=expires, rarest=1e300, most_per_day=0)
    pipeline.decisions.ruling.book.add(RuleAdd(1, always), 0)
    found = Hiding()

    def see(batch: EventBatch, outcome: BatchResult) -> None:
        found.raised += int(np.count_nonzero(outcome.raised))
        for one in outcome.hidden:
            _count(found, rule, one, batch)

    scored: Scored = backtest(config, source, pipeline=pipeline, progress=progress, see=see)
    found.events = len(scored.scores)
    return found


def _count(found: Hiding, rule: Rule, one: HiddenAlert, batch: EventBatch) -> None:
    moment = datetime.fromtimestamp(one.time_ms / 1000, UTC)
    found.hidden[f"{moment:%Y-%m-%d}"] += 1
    found.rarer += one.rarity >= rule.stranger_from(None)
    if len(found.examples) < _EXAMPLES:
        found.examples.append(one.alert)
    rows = np.flatnonzero(batch.offset == one.offset).tolist() if one.offset >= 0 else []
    label = float(batch.label[rows[0]]) if rows else float("nan")
    if label == 1:
        found.positive.append(one.alert)
    elif label == 0:
        found.negative += 1
