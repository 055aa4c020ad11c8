"""Monitors at work in the pipeline: events in their order go in, alerts come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stream_detector.alerts import iso_time, monitor_message, severity
from stream_detector.calendars import LARGEST_PACKED, CalendarBook
from stream_detector.cells.times import LATEST_TIME_MS
from stream_detector.config.derived.calendars import calendars_of
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.stored import read_branch, read_time
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, EventBatch, State, TopicPartition
from stream_detector.explanation import short_number
from stream_detector.monitors import Finding, Monitor, MonitorEvents, build_monitor
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.cause import Cause
from stream_detector.pipeline.following import Following, FollowingEvents
from stream_detector.pipeline.ruling import Ruling
from stream_detector.tables.lookups import Lookups

Found = tuple[int, Monitor, Finding | str]
"""The row of the event that showed it, who has found it, and what: a key that is back, by name."""


class Monitors:
    """All monitors of a configuration.

    State: theirs, by their names.

    Attributes:
        each: the monitors, in the order of the configuration.
        ticked_ms: the last tick's time; before any, and where the watermark was set back since,
            ``NO_TIMESTAMP``.
        calendars: those in use, packed; those of the configuration but for what is followed.
    """

    def __init__(self, config: Config, fingerprint: str, plan: FieldPlan, ruling: Ruling) -> None:
        """``fingerprint``: of the configuration, for the alerts; ``ruling``: hides some of them."""
        self._ruling = ruling
        self._name, self._fingerprint = config.name, fingerprint
        self._shards = config.processing.shards
        self.each = [build_monitor(monitor) for monitor in config.monitors]
        for monitor in self.each:
            monitor.follows = config.incident_settings is not None
        self._own_calendars = calendars_of(config)
        self.calendars = ""
        self.use_calendars(self._own_calendars)
        self.ticked_ms = NO_TIMESTAMP
        texts = dict.fromkeys(name for each in config.monitors for name in each.text_fields)
        numbers = dict.fromkeys(name for each in config.monitors for name in each.number_fields)
        self._text = {name: plan.text.index(name) for name in texts}
        self._numbers = {name: plan.numeric.index(name) for name in numbers}

    def use_calendars(self, packed: str) -> None:
        """Go by other calendars from now on. Raises ``StateMismatchError`` where they are none."""
        book = CalendarBook(packed)
        for monitor in self.each:
            monitor.calendars = book.of(monitor.config.name)
        self.calendars = packed

    def use_own_calendars(self) -> bool:
        """Go by those of the configuration; tells whether that changes anything."""
        if self.calendars == self._own_calendars:
            return False
        self.use_calendars(self._own_calendars)
        return True

    def take(
        self,
        events: EventBatch,
        receipt_of: Callable[[int], dict[str, Any]],
        outcome: BatchResult,
        incidents: FollowingEvents | None = None,
        lookups: Lookups | None = None,
    ) -> Callable[[int], None]:
        """Count events in their order.

        Args:
            events: with the watermark after each.
            receipt_of: gives what a row's alert says of the place in the stream and of the state.
            outcome: takes the alerts.
            incidents: are told of them, at their rows.
            lookups: of the keys of these events, where windows have looked them up.

        Returns:
            What adds the alerts that rows up to a given one have brought, in the order of the rows:
            so alerts are in the order of the events, however these are cut.
        """
        if not self.each:
            return _tell_nothing
        found, marks_ms = self._found(events, lookups or Lookups(len(events))), events.mark_ms
        assert marks_ms is not None

        def tell(last: int) -> None:
            while found and found[0][0] <= last:
                row, monitor, finding = found.popleft()
                cause = Cause(events.source[row], int(events.offset[row]))
                told = None if incidents is None else incidents.at(row)
                place = (cause, int(marks_ms[row]), receipt_of(row))
                if isinstance(finding, Finding):
                    self._add(monitor, finding, place, outcome, told)
                elif told is not None:
                    told.returned(monitor, finding)

        return tell

    @property
    def due_ms(self) -> int | None:
        """The first time at which a tick would change anything; None where none would."""
        due = [monitor.due_ms for monitor in self.each]
        return min((one for one in due if one is not None), default=None)

    def tick(
        self,
        time_ms: int,
        shard: int,
        receipt: dict[str, Any],
        outcome: BatchResult,
        incidents: Following | None = None,
    ) -> None:
        """Time has come to ``time_ms`` without an event.

        Args:
            time_ms: later than any tick, and any watermark, before.
            shard: whose tick it is.
            receipt: what the alerts say of the state.
            outcome: takes the alerts.
            incidents: are told of them.
        """
        self.ticked_ms = max(self.ticked_ms, time_ms)
        cause = Cause(TopicPartition("", shard), time_ms)
        for monitor in self.each:
            findings = monitor.tick(time_ms)
            if incidents is not None:
                for _, key in monitor.returned:
                    incidents.returned(monitor, key)
            for finding in findings:
                self._add(monitor, finding, (cause, time_ms, receipt), outcome, incidents)

    def _add(
        self,
        monitor: Monitor,
        finding: Finding,
        place: tuple[Cause, int, dict[str, Any]],
        outcome: BatchResult,
        incidents: Following | None,
    ) -> None:
        if self._is_muted(monitor, finding):
            monitor.muted += 1
            return
        cause, mark_ms, receipt = place
        name, body = monitor.config.name, self._body(monitor, finding, cause, receipt)
        verdict = self._ruling.judge_finding(name, finding, body, mark_ms, cause, outcome)
        shown = not verdict.hidden_by
        if incidents is not None:
            signal = incidents.of_finding(monitor, finding, body, hidden_by=verdict.hidden_by)
            asleep = shown and incidents.is_snoozed(lambda: signal)
            shown = shown and not (asleep and verdict.note is None)
            incidents.take(replace(signal, shown=shown))
        if not shown:
            outcome.snoozed += not verdict.hidden_by
            return
        if verdict.note is not None:
            body["rule"] = verdict.note
        message = monitor_message(
            body, cause.source, cause.offset, finding.key, finding.end_ms, self._name
        )
        feature = f"{name}.{body['reasons'][0]['feature']}"
        outcome.add_alert((message, body["severity"], [feature]))
        outcome.monitor_alerts[name] += 1

    @staticmethod
    def _is_muted(monitor: Monitor, finding: Finding) -> bool:
        """Tell whether a calendar leaves out what was found at this time of this key."""
        if monitor.mutes_itself:
            return False
        effects = monitor.calendars.at(finding.end_ms - 1, finding.end_ms)
        return any(
            effect.skips_alert and (effect.keys is None or finding.key in effect.keys)
            for effect in effects
        )

    def _found(self, events: EventBatch, lookups: Lookups) -> deque[Found]:
        """What was found, with the row of the event that showed it."""
        assert events.mark_ms is not None
        columns = MonitorEvents(
            times_ms=events.time_ms,
            marks_ms=events.mark_ms,
            partitions=events.source,
            text={name: events.text[column].tolist() for name, column in self._text.items()},
            numbers={name: events.numeric[:, column] for name, column in self._numbers.items()},
            lookups=lookups,
        )
        found: list[Found] = []
        for monitor in self.each:
            for row, findings in monitor.take(monitor.config.counted(columns)):
                found += [(row, monitor, finding) for finding in findings]
            found += [(row, monitor, key) for row, key in monitor.returned]
        # Keys that are back first; else stable: monitors as in the file.
        return deque(sorted(found, key=lambda one: (one[0], isinstance(one[2], Finding))))

    def _body(
        self,
        monitor: Monitor,
        finding: Finding,
        cause: Cause,
        receipt: dict[str, Any],
    ) -> dict[str, Any]:
        """Fields of the alert of a finding.

        Args:
            monitor: has found it.
            finding: is what was found.
            cause: the event, or the tick, that showed it.
            receipt: by which state it was found.
        """
        config = monitor.config
        start, end = iso_time(finding.start_ms), iso_time(finding.end_ms)
        told_apart = f":{finding.distinction}" if finding.distinction else ""
        if self._shards > 1:  # each has monitors of its own, which may find the same at once
            told_apart += f":shard-{cause.source.partition % self._shards}"
        reasons = [_readable(reason) for reason in finding.reasons()]
        return {
            "id": f"{config.kind}:{config.name}:{finding.key}:{end}{told_apart}",
            "kind": config.kind,
            "detector": self._name,
            "event_id": None,
            "event_time": end,
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
                "end": end,
                **_readable(finding.details()),
            },
            "receipt": {
                **cause.told(),
                "configuration": self._fingerprint,
                **receipt,
                "features": [],
            },
        }

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        self.ticked_ms = NO_TIMESTAMP
        for monitor in self.each:
            monitor.restart(mark_ms)

    def state(self) -> State:
        """``monitors``: the states of all by their names; nothing without any."""
        if not self.each:
            return {}
        ticked = {} if self.ticked_ms == NO_TIMESTAMP else {"ticked_ms": self.ticked_ms}
        calendars = {"calendars": self.calendars} if self.calendars else {}
        return {
            "monitors": {monitor.config.name: monitor.state() for monitor in self.each},
            **calendars,
            **ticked,
        }

    def restore(self, state: State, mark_ms: int) -> None:
        """Take a pipeline's state in; ``mark_ms`` is the watermark of it.

        Raises ``StateMismatchError`` where it is not that of these monitors.
        """
        if not self.each:
            return
        if state.get("monitors") is None:
            raise StateMismatchError("the state has no monitors")
        if "ticked_ms" in state:
            self.ticked_ms = read_time(state, "ticked_ms", latest_ms=LATEST_TIME_MS)
        calendars = state.get("calendars", "")
        if not isinstance(calendars, str) or len(calendars) > LARGEST_PACKED:
            raise StateMismatchError("the calendars of the state are no text, or too long a one")
        self.use_calendars(calendars)
        states = read_branch(state, "monitors")
        for monitor in self.each:
            branch = read_branch(states, monitor.config.name)
            monitor.restore(branch, max(mark_ms, self.ticked_ms))


def _readable(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers as people read them; counts and texts as they are."""
    return {
        name: [short_number(each) for each in value]
        if isinstance(value, list | tuple)
        else short_number(value)
        for name, value in values.items()
    }


def _tell_nothing(_last: int) -> None:
    """Add no alert: there are no monitors."""
