"""Events that a rule has hidden, remembered so that a label can still bring them to light."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stream_detector.detectors.stored import LARGEST_TIME_MS
from stream_detector.errors import StateMismatchError
from stream_detector.events import State

LARGEST_BODY_BYTES = 4096
"""What is kept of an event's alert; more than that is kept without the feature vector."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A hidden event.

    Attributes:
        rule: id of the rule that hid it.
        identity: hash of its id; 0 where labels come inside the events.
        due_ms: event time at which the label inside it may be known; -1 where labels come by id.
        positive: whether that label is 1.
        body: the alert that it would have been, as JSON.
        key: of its record.
        time_ms: its event time.
    """

    rule: str
    identity: int
    due_ms: int
    positive: bool
    body: str
    key: bytes | None
    time_ms: int


class HiddenEvents:
    """The last events that were hidden. State: they; at most ``most``, the oldest go first.

    Attributes:
        forgotten: how many had to go before a label could come.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._number = 0
        self._events: dict[int, Hidden] = {}
        self._by_identity: dict[int, int] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Hidden) -> None:
        """Remember an event."""
        self._events[self._number] = event
        if event.identity:
            self._by_identity[event.identity] = self._number
        self._number += 1
        while len(self._events) > self._most:
            self._pop(next(iter(self._events)))
            self.forgotten += 1

    def _pop(self, number: int) -> Hidden:
        event = self._events.pop(number)
        if self._by_identity.get(event.identity) == number:
            del self._by_identity[event.identity]
        return event

    def take(self, identities: Sequence[int], labels: Sequence[float]) -> list[tuple[int, Hidden]]:
        """Labels came by id: the hidden events that turn out to be positive leave.

        Returns:
            Which of the labels said so, and of which event.
        """
        found: list[tuple[int, Hidden]] = []
        for row, (identity, label) in enumerate(zip(identities, labels, strict=True)):
            number = self._by_identity.get(identity) if label == 1 and identity else None
            if number is not None:
                found.append((row, self._pop(number)))
        return found

    def mature(self, now_ms: int) -> list[Hidden]:
        """Labels inside events may be known at ``now_ms``: the positive ones leave, as the others.

        Raises nothing; an event whose label comes by id waits on.
        """
        due = [n for n, event in self._events.items() if 0 <= event.due_ms <= now_ms]
        return [event for event in map(self._pop, due) if event.positive]

    def go_back(self, latest_due_ms: int) -> None:
        """The watermark was wrong: no label waits longer than until ``latest_due_ms``."""
        for number, event in self._events.items():
            if event.due_ms > latest_due_ms:
                self._events[number] = replace(event, due_ms=latest_due_ms)

    def state(self) -> State:
        """The events, oldest first."""
        return {
            "events": [
                [
                    one.rule,
                    one.identity,
                    one.due_ms,
                    one.positive,
                    one.body,
                    None if one.key is None else base64.b64encode(one.key).decode(),
                    one.time_ms,
                ]
                for one in self._events.values()
            ],
            "forgotten": self.forgotten,
        }

    def restore(self, events: Sequence[Any], forgotten: int) -> None:
        """Take a state's events in. Raises ``StateMismatchError`` where they are none."""
        self._events, self._by_identity, self._number = {}, {}, 0
        for rule, identity, due_ms, positive, body, key, time_ms in events:
            sound = (
                isinstance(rule, str)
                and type(identity) is int
                and abs(identity) < 2**63 + 1
                and type(due_ms) is int
                and -1 <= due_ms <= LARGEST_TIME_MS
                and type(positive) is bool
                and isinstance(body, str)
                and len(body) <= 4 * LARGEST_BODY_BYTES
                and (key is None or isinstance(key, str))
                and type(time_ms) is int
                and 0 <= time_ms <= LARGEST_TIME_MS
            )
            if not sound:
                raise StateMismatchError(f"no hidden event: {[rule, identity, due_ms]!r:.80}")
            content = None if key is None else base64.b64decode(key, validate=True)
            self.add(Hidden(rule, identity, due_ms, positive, body, content, time_ms))
        self.forgotten = forgotten
