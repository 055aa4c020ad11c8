"""Prometheus' Alertmanager.

https://prometheus.io/docs/alerting/latest/alerts_api/

An incident is one alert there: its labels are the same from its opening to its end. While it is
open it is sent again and again with an end that lies ahead; once resolved, with the end it had.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Any

import msgspec

from stream_detector.config.models.forward import AlertmanagerConfig
from stream_detector.connectors.http_client import Answer
from stream_detector.events import TopicPartition
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.outcome import Outcome
from stream_detector.forwarding.targets.base import Means
from stream_detector.forwarding.targets.http import HttpTarget
from stream_detector.forwarding.targets.open_incidents import OpenIncidents
from stream_detector.forwarding.wording import text_of, title_of
from stream_detector.log_fields import fields
from stream_detector.visible import shown, visible

log = logging.getLogger(__name__)

_PATH = "/api/v2/alerts"
_NAMES = {"alert": "StreamDetectorAlert", "incident": "StreamDetectorIncident"}
_LONGEST_LABEL = 1000
_TOLERATED_SKEW = timedelta(seconds=5)
_LEAST = timedelta(milliseconds=1)


class AlertmanagerTarget(HttpTarget):
    """Sends to one Alertmanager; each of a cluster is a target of its own.

    State: the incidents that it has to be reminded of; by how much its clock differs from ours.
    """

    remembers = True

    def __init__(
        self,
        config: AlertmanagerConfig,
        means: Means,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``clock``: the wall's. Raises ``ConfigurationError``."""
        super().__init__(config, means)
        self._config, self._clock = config, clock
        self.batch = config.max_batch
        self.incidents = OpenIncidents(config.max_open, config.resend)
        self._skew = timedelta(0)

    def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Send a batch at once; where it is refused, its halves, until it is known whose fault."""
        outcome = self._posted([alert for message in messages for alert in self._alerts(message)])
        if outcome.kind == "refused" and len(messages) > 1:
            half = len(messages) // 2
            return self.deliver(messages[:half]) + self.deliver(messages[half:])
        if outcome.kind == "sent":
            for message in messages:
                if message.kind == "incident":
                    self.incidents.put(message)
        return [outcome] * len(messages)

    def remember(self, message: Message) -> None:
        """Take note of an incident that was sent before; what is open is sent again at once."""
        if message.state == "resolved":
            self.incidents.drop(message.id)
        else:
            self.incidents.put(message, sent=False)

    def forget(self, sources: Sequence[TopicPartition]) -> None:
        """Partitions now belong to another worker, and so do their incidents."""
        self.incidents.forget(sources)

    def repeat_due(self) -> float | None:
        """When something is to be sent again."""
        return self.incidents.due_at()

    def repeat(self) -> Outcome | None:
        """Send again what is due."""
        messages = self.incidents.due(self.batch)
        if not messages:
            return None
        outcome = self._posted([alert for message in messages for alert in self._alerts(message)])
        if outcome.kind == "refused":  # it was taken before: no later time would change that
            log.error(
                "what was sent before is refused now: %s",
                outcome.said,
                extra=fields("forward-refused", stage="forward"),
            )
        if outcome.kind in ("sent", "refused"):
            self.incidents.sent_again(messages)
        return outcome

    def _posted(self, alerts: list[dict[str, Any]]) -> Outcome:
        headers = {"Content-Type": "application/json"}
        return self._asked("POST", msgspec.json.encode(alerts), headers, _PATH)

    def _heard(self, answer: Answer) -> None:
        """Learn by how much the other clock differs: ends that lie ahead are counted by it."""
        try:
            theirs = parsedate_to_datetime(answer.headers["date"])
            skew = theirs - self._clock()
        except (KeyError, ValueError, TypeError, OverflowError):
            return
        self._skew = skew if abs(skew) > _TOLERATED_SKEW else timedelta(0)

    def _alerts(self, message: Message) -> list[dict[str, Any]]:
        """Return what stands for a message: of one that got worse, the end of the old one too."""
        alerts = [self._alert(message, message.severity)]
        if self._config.severity_label and message.kind == "incident":
            before = self.incidents.before(message.id)
            if before is not None and before.severity != message.severity:
                alerts.append(self._alert(before, before.severity, over=True))
        return alerts

    def _alert(self, message: Message, severity: str, *, over: bool = False) -> dict[str, Any]:
        now = self._clock() + self._skew
        begin = min(message.begin or now, now)
        if message.kind == "alert":
            end = now + timedelta(seconds=self._config.alert_lasts)
        elif message.state == "resolved" or over:
            end = max(min(now, message.end or now), begin + _LEAST)
        else:
            end = now + timedelta(seconds=self._config.expires)
        labels = {
            **self._config.labels,
            "alertname": _NAMES[message.kind],
            "detector": shown(message.body.get("detector"), _LONGEST_LABEL),
            f"{message.kind}_id": _label(message.id),
        }
        if self._config.severity_label:
            labels["severity"] = severity
        return {
            "labels": {name: text for name, text in labels.items() if text},
            "annotations": {
                "summary": title_of(message),
                "description": text_of(message),
                "severity": severity,
                **({"state": message.state} if message.state is not None else {}),
            },
            "startsAt": _text(begin),
            "endsAt": _text(end),
        }

    def open_count(self) -> int:
        """Return how many incidents are open."""
        return self.incidents.count()

    def on_evicted(self, told: Callable[[int], None]) -> None:
        """Tell whoever counts open incidents that are forgotten for want of room."""
        self.incidents.on_evicted = told


def _label(text: str) -> str:
    """Return a text as a label that no other long one shares."""
    if len(text) <= _LONGEST_LABEL:
        return visible(text)
    digest = blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return f"{visible(text[:_LONGEST_LABEL])}…{digest}"


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
