"""Output of the pipeline: alerts, dead letters, and the suppression of repeated alerts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from stream_detector.config.models.config import SuppressionConfig
from stream_detector.detectors.stored import read_array
from stream_detector.errors import StateMismatchError
from stream_detector.events import Record, Rejection, State, TopicPartition
from stream_detector.foreign import json_of
from stream_detector.formats.errors import PayloadError
from stream_detector.messages import (
    DEAD_LETTER,
    ORIGINAL_TIMESTAMP,
    Headers,
    Outgoing,
    fitted,
    header_name,
    sound,
)

ALERT_TYPE = "io.stream-detector.alert.v1"
"""CloudEvents type of an alert; the version changes when a field changes its meaning."""

INCIDENT_TYPE = "io.stream-detector.incident.v1"
"""Likewise of an incident."""

_MAX_EVENT_BYTES = 400_000
"""A larger original event stays out of its alert: brokers refuse messages over 1 MiB."""

_MAX_TRACE_BYTES = 1000
"""A longer ``traceparent`` or ``tracestate`` is none: 55 bytes, and 512 by the standard."""


@lru_cache(4096)  # an incident's messages hold the same few times again and again
def iso_time(time_ms: int) -> str:
    """``2018-04-01T00:00:31.000Z``."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment.isoformat()[:19]}.{time_ms % 1000:03d}Z"


def severity(rarity: float, budget_share: float | None) -> str:
    """``low`` to ``critical``, by how much rarer the score is than the budget asks.

    An alert that just passes a budget of 0.1 % is one in 1,000: low. Three times as rare is
    medium, ten times high, a hundred times critical. With a fixed score the same steps count from
    one in 1,000.
    """
    excess = rarity * (budget_share if budget_share is not None else 0.001)
    for name, least in (("critical", 100), ("high", 10), ("medium", 3)):
        if excess >= least:
            return name
    return "low"


SEVERITIES = ("low", "medium", "high", "critical")


def alert_message(
    body: dict[str, Any],
    source: TopicPartition,
    record: Record,
    time_ms: int,
    detector: str,
    read: Callable[[Record], Any] | None = None,
) -> Outgoing:
    """An alert as JSON, with the original event inside, and CloudEvents' binary headers.

    Args:
        body: the alert's fields; ``id`` must be there.
        source: where the record came from.
        record: the original record; its key becomes the alert's, so that one key stays in order.
        time_ms: event time.
        detector: name of the detector, the ``ce_source``.
        read: reads a record of a format other than JSON; raises ``PayloadError``.
    """
    full = {**body, "event": _original(record, read)}
    headers = _cloud_event(body["id"], time_ms, detector)
    headers.extend(
        (name, content)
        for name, content in record.headers or ()
        if name in ("traceparent", "tracestate")
        and content is not None
        and len(content) <= _MAX_TRACE_BYTES
    )
    # Without a timestamp of its own: a broker refuses event times that lie ahead of its clock and
    # may delete at once what lies far behind. The event time stands in ce_time and in the body.
    value = msgspec.json.encode(full)
    place, recorded_ms = (source, record.offset), record.timestamp
    return fitted(Outgoing(*place, record.key, value, headers, None, recorded_ms=recorded_ms))


def monitor_message(
    body: dict[str, Any],
    source: TopicPartition,
    offset: int,
    key: str | bytes,
    time_ms: int,
    detector: str,
) -> Outgoing:
    """An alert of a monitor, or of a rule, which is about many events: none is inside.

    Args:
        body: the alert's fields; ``id`` must be there.
        source: where the event came from with which the bucket closed.
        offset: of that event.
        key: what the alert is about; the message's key where it is not empty.
        time_ms: end of the bucket.
        detector: name of the detector, the ``ce_source``.
    """
    value = msgspec.json.encode({**body, "event": None})
    headers = _cloud_event(body["id"], time_ms, detector)
    message_key = (key if isinstance(key, bytes) else key.encode("utf-8", "replace")) or None
    return fitted(Outgoing(source, offset, message_key, value, headers, None))


def incident_message(
    body: dict[str, Any], source: TopicPartition, offset: int, time_ms: int, detector: str
) -> Outgoing:
    """The message of an incident as it stands now; its key is the incident's id.

    Args:
        body: the incident's fields; ``id`` and ``revision`` must be there.
        source: where the event came from that has changed it; of a tick no topic, and the shard.
        offset: of that event, or the tick's time.
        time_ms: watermark, or tick, at the change.
        detector: name of the detector, the ``ce_source``.
    """
    identity = body["id"]
    headers = _cloud_event(f"{identity}/{body['revision']}", time_ms, detector, INCIDENT_TYPE)
    key = identity.encode("utf-8", "replace")
    return fitted(Outgoing(source, offset, key, msgspec.json.encode(body), headers, None))


def _cloud_event(identity: str, time_ms: int, detector: str, kind: str = ALERT_TYPE) -> Headers:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", kind.encode()),
        ("ce_source", f"/stream-detector/{detector}".encode()),
        ("ce_id", identity.encode("utf-8", "replace")),
        ("ce_time", iso_time(time_ms).encode()),
        ("content-type", b"application/json"),
    ]


def _original(record: Record, read: Callable[[Record], Any] | None) -> Any:
    value = record.value or b""
    if len(value) > _MAX_EVENT_BYTES:
        return {"truncated": True, "size_bytes": len(value)}
    try:
        if read is None:
            return msgspec.json.decode(json_of(value))
        event = msgspec.json.encode(read(record))
        if len(event) > _MAX_EVENT_BYTES:
            return {"truncated": True, "size_bytes": len(event)}
        return msgspec.Raw(event)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, PayloadError, TypeError):
        # The fields that are read were sound; something else in the record is not.
        return {"undecodable": True, "size_bytes": len(value)}


def dead_letter(
    source: TopicPartition, record: Record, rejection: Rejection, detector: str
) -> Outgoing:
    """The record that was rejected whole, and why; as ``letter_of``."""
    return letter_of(source, record, rejection, detector, "stream_detector.decoding.Decoder")


def letter_of(
    source: TopicPartition, record: Record, rejection: Rejection, connector: str, refused_by: str
) -> Outgoing:
    """The record whole (key, value, headers) and why, in Kafka Connect's headers.

    The record's own timestamp goes into a header: as the letter's, a broker would refuse one that
    lies ahead of its clock, and delete at once what lies far behind. What no broker would take is
    left out, and a header says what.

    Args:
        source: where the record came from.
        record: that is given up.
        rejection: why, and at which stage.
        connector: whose dead letter it is.
        refused_by: class or module that has no use for it.
    """
    reasons = {
        "topic": source.topic,
        "partition": str(source.partition),
        "offset": str(record.offset),
        "connector.name": connector,
        "task.id": "0",
        "stage": rejection.stage,
        "class.name": refused_by,
        "exception.class.name": rejection.reason,
        "exception.message": rejection.message,
    }
    headers: Headers = [
        (header_name(name), content or b"") for name, content in record.headers or ()
    ]
    headers.extend(
        (f"{DEAD_LETTER}{name}", text.encode("utf-8", "replace")) for name, text in reasons.items()
    )
    if record.timestamp >= 0:
        headers.append((ORIGINAL_TIMESTAMP, str(record.timestamp).encode()))
    return fitted(sound(Outgoing(source, record.offset, record.key, record.value, headers, None)))


_RARER = (2.0, 4.0, 8.0, 10.0)
"""An alert that is so many times as rare as its key's last one is not held back: the first of a
period, the second, the third, all further ones."""

_MOST_PASSED = len(_RARER) - 1

_RAREST = 1e9
"""No score is rarer (``threshold.AlertThreshold.rarity``), so nothing passes beside it."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An alert that is let through.

    Attributes:
        held: how many alerts of its key were held back since the last one.
        rarer_than: rarity of the last one, where the period of that is not over.
    """

    held: int
    rarer_than: float | None = None


class Suppressor:
    """Lets one alert through a key and period of the stream's time; counts what it holds back.

    An alert that is clearly rarer than the key's last one passes all the same, and is what later
    ones are held to: a small alert cannot hide a large one. Clearly is twice at first, and more the
    more often it has happened in the period, up to ten times (``_RARER``): so what ends a slow rise
    is seen, and steps up to a rarity r alert 2 + log10 r times in a period at most. The period ends
    when it would have.

    A period begins at the watermark at the latest: what an event claims beyond it cannot hold back
    the alerts of others. Nor does a watermark that is a step ahead, or stands still over a gap:
    an event that lies less than ``step`` behind the watermark, or after it, has its own time.

    State: for each key when its period ends, how many were held back, how rare its last alert was,
    and how many have passed within the period. Bounded by ``max_keys``: the key whose period began
    first goes first. To lose a key is to alert for it again, so a flood of keys makes alerts and
    hides none.
    """

    def __init__(self, config: SuppressionConfig, step_seconds: float) -> None:
        """``step_seconds``: ``event.max_step``."""
        self._step_ms = int(step_seconds * 1000)
        self._period_ms = int(config.period * 1000)
        self._max_keys = config.max_keys
        self._until: dict[str, tuple[int, int, float, int]] = {}

    def admit(self, key: str, time_ms: int, mark_ms: int, rarity: float) -> Admitted | None:
        """Let an alert through, or count it and return None.

        Args:
            key: what alerts are grouped by.
            time_ms: event time.
            mark_ms: the stream's watermark.
            rarity: one in so many events has such a score.
        """
        until, held, last, passed = self._until.get(key, (-1, 0, _RAREST, 0))
        begin_ms = min(max(time_ms, mark_ms - self._step_ms), mark_ms)
        if max(time_ms, begin_ms) < until:
            if rarity < _RARER[passed] * last:
                self._until[key] = (until, held + 1, last, passed)
                return None
            self._until[key] = (until, 0, rarity, min(passed + 1, _MOST_PASSED))
            return Admitted(held, last)
        self._until.pop(key, None)  # so that the dict stays in the order of the periods
        self._until[key] = (begin_ms + self._period_ms, 0, rarity, 0)
        if len(self._until) > self._max_keys:
            del self._until[next(iter(self._until))]
        return Admitted(held)

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: no period ends later than if it began now."""
        latest = mark_ms + self._period_ms
        self._until = {
            key: (min(until, latest), held, last, passed)
            for key, (until, held, last, passed) in self._until.items()
        }

    def state(self) -> State:
        """The keys, oldest period first."""
        entries = self._until.values()
        return {
            "until": [[key, until, held] for key, (until, held, *_) in self._until.items()],
            "rarity": np.array([last for _, _, last, _ in entries], dtype=np.float64),
            "passed": np.array([passed for *_, passed in entries], dtype=np.int64),
        }

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where it is of another kind."""
        entries: Sequence[Any] = state["until"]
        for key, until, held in entries:
            whole = type(until) is int and type(held) is int
            if not isinstance(key, str) or not whole or min(until, held) < 0:
                raise StateMismatchError(f"no suppressed key: {[key, until, held]!r:.80}")
        # States of older versions do not say how rare alerts were, or how many have passed: their
        # periods go on to the end as they began.
        count = (len(entries),)
        rarities, passes = np.full(count, _RAREST), np.full(count, _MOST_PASSED)
        if "rarity" in state:
            rarities = read_array(state, "rarity", count, low=0.0, high=_RAREST)
        if "passed" in state:
            passes = read_array(state, "passed", count, np.int64, low=0, high=_MOST_PASSED)
        self._until = {
            key: (until, held, last, passed)
            for (key, until, held), last, passed in zip(
                entries, rarities.tolist(), passes.tolist(), strict=True
            )
        }
