"""A thread that takes messages out of the outbox and sends them, until it is stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from stream_detector.forwarding.letters import DeadLetters
from stream_detector.forwarding.outbox import Entry, Outbox
from stream_detector.forwarding.outcome import Outcome
from stream_detector.forwarding.targets.base import Target
from stream_detector.log_fields import fields
from stream_detector.telemetry.forward_metrics import ForwardMetrics
from stream_detector.telemetry.logs import redact

log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.2
_QUIET_SECONDS = 10.0

_UNWRITABLE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
"""What comes of a message whose fields are not what they should be: somebody else's, or of a later
version. (UnicodeError and msgspec's are ValueErrors.)"""


class Sender:
    """Sends to one target. State: until when it warns no more."""

    def __init__(
        self,
        name: str,
        target: Target,
        outbox: Outbox,
        letters: DeadLetters,
        metrics: ForwardMetrics,
    ) -> None:
        self._name, self._target, self._outbox = name, target, outbox
        self._letters, self._metrics = letters, metrics
        self._quiet_until = 0.0

    def run(self, stopping: Callable[[], bool]) -> None:
        """Send until ``stopping`` says so; what has been begun is ended."""
        while not stopping():
            self._repeat()
            entries = self._outbox.take(
                self._target.batch, _WAIT_SECONDS, in_order=self._target.in_order
            )
            if entries:
                self._send(entries)

    def _send(self, entries: Sequence[Entry]) -> None:
        sound = [entry for entry in entries if entry.message is not None]
        outcomes = dict(zip(map(id, sound), self._delivered(sound), strict=True))
        given = [
            outcomes.get(id(entry)) or Outcome("refused", "unwritable", f"it {entry.problem}")
            for entry in entries
        ]
        letters = self._outbox.settle(entries, given)
        for entry, outcome in zip(entries, given, strict=True):
            self._tell(entry, outcome, given_up=entry in letters)

    def _delivered(self, entries: Sequence[Entry]) -> list[Outcome]:
        messages = [entry.message for entry in entries if entry.message is not None]
        if not messages:
            return []
        try:
            return self._target.deliver(messages)
        except _UNWRITABLE as error:
            if len(messages) > 1:  # one of them
                return [self._delivered([entry])[0] for entry in entries]
            return [Outcome("refused", "unwritable", f"cannot be written: {error!r}")]

    def _tell(self, entry: Entry, outcome: Outcome, *, given_up: bool) -> None:
        """Count what became of an entry; write it to the dead letters where it is given up."""
        if outcome.kind == "sent":
            self._metrics.add("forward_sent_total", self._name)
            return
        reason = outcome.reason or "refused"
        self._metrics.add("forward_failures_total", self._name, reason)
        if not given_up:
            self._metrics.add("forward_retries_total", self._name)
            self._warn(outcome)
            return
        if not self._letters.write(entry.source, entry.record, reason, outcome.said):
            self._outbox.put_off(entry)
            return
        self._metrics.add("forward_dead_letters_total", self._name)
        self._outbox.finish(entry)
        log.error(
            "%s offset %d is given up, its record is a dead letter: %s",
            entry.source,
            entry.record.offset,
            redact(outcome.said),
            extra=fields("forward-dead-letter", stage="forward", target=self._name, reason=reason),
        )

    def _repeat(self) -> None:
        due = self._target.repeat_due()
        if due is None or due > time.monotonic() or self._outbox.paused():
            return
        outcome = self._target.repeat()
        if outcome is None:
            return
        self._outbox.note(outcome)
        if outcome.kind == "sent":
            self._metrics.add("forward_repeated_total", self._name)
        else:
            reason = outcome.reason or "refused"
            self._metrics.add("forward_failures_total", self._name, reason)
            self._warn(outcome)

    def _warn(self, outcome: Outcome) -> None:
        """At most a line in ten seconds: where a target is away, every attempt brings one."""
        if (now := time.monotonic()) < self._quiet_until:
            return
        self._quiet_until = now + _QUIET_SECONDS
        level = logging.ERROR if outcome.kind == "denied" else logging.WARNING
        log.log(
            level,
            "not delivered, it is tried again: %s",
            redact(outcome.said),
            extra=fields("forward-failed", stage="forward", target=self._name),
        )
