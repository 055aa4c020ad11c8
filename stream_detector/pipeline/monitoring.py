"""Monitors at work in the pipeline: events in their order go in, alerts come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from stream_detector.alerts import iso_time, monitor_message, severity
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.stored import read_branch
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, State
from stream_detector.explanation import short_number
from stream_detector.messages import Outgoing
from stream_detector.monitors import Finding, Monitor, MonitorEvents, build_monitor
from stream_detector.pipeline.batch_result import BatchResult

MonitorAlert = tuple[Outgoing, str, list[str]]
"""The message, its severity, the feature that it is reported under."""


Found = tuple[int, Monitor, Finding]
"""The row of the event that showed it, who has found it, and what."""


class Monitors:
    """All monitors of a configuration. State: theirs, by their names."""

    def __init__(self, config: Config, fingerprint: str, plan: FieldPlan) -> None:
        """``fingerprint``: of the configuration, for the alerts."""
        self._name, self._fingerprint = config.name, fingerprint
        self.each = [build_monitor(monitor) for monitor in config.monitors]
        texts = dict.fromkeys(name for each in config.monitors for name in each.text_fields)
        numbers = dict.fromkeys(name for each in config.monitors for name in each.number_fields)
        self._text = {name: plan.text.index(name) for name in texts}
        self._numbers = {name: plan.numeric.index(name) for name in numbers}

    def take(
        self,
        events: EventBatch,
        receipt_of: Callable[[int], dict[str, Any]],
        outcome: BatchResult,
    ) -> Callable[[int], None]:
        """Count events in their order.

        Args:
            events: with the watermark after each.
            receipt_of: gives what a row's alert says of the place in the stream and of the state.
            outcome: takes the alerts.

        Returns:
            What adds the alerts that rows up to a given one have brought, in the order of the rows:
            so alerts are in the order of the events, however these are cut.
        """
        found = self._found(events)

        def tell(last: int) -> None:
            while found and found[0][0] <= last:
                row, monitor, finding = found.popleft()
                outcome.add_alert(self._alert(monitor, finding, events, row, receipt_of(row)))
                outcome.monitor_alerts += 1

        return tell

    def _found(self, events: EventBatch) -> deque[Found]:
        """What was found, with the row of the event that showed it."""
        if not self.each:
            return deque()
        assert events.mark_ms is not None
        columns = MonitorEvents(
            times_ms=events.time_ms,
            marks_ms=events.mark_ms,
            partitions=events.source,
            text={name: events.text[column].tolist() for name, column in self._text.items()},
            numbers={name: events.numeric[:, column] for name, column in self._numbers.items()},
        )
        found: list[Found] = []
        for monitor in self.each:
            for row, findings in monitor.take(monitor.config.counted(columns)):
                found += [(row, monitor, finding) for finding in findings]
        return deque(sorted(found, key=lambda one: one[0]))  # stable: monitors as in the file

    def _alert(
        self,
        monitor: Monitor,
        finding: Finding,
        events: EventBatch,
        row: int,
        receipt: dict[str, Any],
    ) -> MonitorAlert:
        """The alert of a finding.

        Args:
            monitor: has found it.
            finding: is what was found.
            events: hold the event with which the bucket closed.
            row: its row there.
            receipt: where in the stream and by which state it was found.
        """
        config = monitor.config
        source, offset = events.source[row], int(events.offset[row])
        start = iso_time(finding.start_ms)
        reasons = [_readable(reason) for reason in finding.reasons()]
        body: dict[str, Any] = {
            "id": f"{config.kind}:{config.name}:{finding.key}:{start}",
            "kind": config.kind,
            "detector": self._name,
            "event_id": None,
            "event_time": iso_time(finding.end_ms),
            "score": finding.score,
            "threshold": finding.threshold,
            "rarity": float(f"{finding.rarity:.4g}"),
            "severity": severity(finding.rarity, finding.share),
            "model": config.kind,
            "reasons": reasons,
            "monitor": {
                "name": config.name,
                "field": config.key,
                "key": finding.key,
                "start": start,
                "end": iso_time(finding.end_ms),
                **_readable(finding.details()),
            },
            "receipt": {
                "topic": source.topic,
                "partition": source.partition,
                "offset": offset,
                "configuration": self._fingerprint,
                **receipt,
                "features": [],
            },
        }
        message = monitor_message(body, source, offset, finding.key, finding.end_ms, self._name)
        return message, body["severity"], [f"{config.name}.{reasons[0]['feature']}"]

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        for monitor in self.each:
            monitor.restart(mark_ms)

    def state(self) -> State:
        """``monitors``: the states of all by their names; nothing without any."""
        if not self.each:
            return {}
        return {"monitors": {monitor.config.name: monitor.state() for monitor in self.each}}

    def restore(self, state: State | None, mark_ms: int) -> None:
        """Take the state in; ``mark_ms`` is the watermark of it.

        Raises ``StateMismatchError`` where it is not that of these monitors.
        """
        if not self.each:
            return
        if state is None:
            raise StateMismatchError("the state has no monitors")
        for monitor in self.each:
            monitor.restore(read_branch(state, monitor.config.name), mark_ms)


def _readable(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers as people read them; counts and texts as they are."""
    return {
        name: [short_number(each) for each in value]
        if isinstance(value, list | tuple)
        else short_number(value)
        for name, value in values.items()
    }
