"""Refusals of our messages by broker or client: which one, why, and whether waiting helps.

The client hides what happened. One message of a batch is at fault, and the others fail with "part
of a batch with invalid records"; everything after it fails with "a previous request has failed",
the reason among that error's arguments; and what lay ready for other topics fails with the very
error of the first. So all futures are looked at, roots are taken out of what wraps them, and only
a future whose batch the broker has answered counts against its topic.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.errors import (
    SEND_ERRORS,
    AuthorizationError,
    CommitFailedError,
    FencedInstanceIdError,
    InvalidConfigurationError,
    InvalidRecordError,
    InvalidRequiredAcksError,
    InvalidTimestampError,
    InvalidTopicError,
    InvalidTransactionTimeoutError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RebalanceInProgressError,
    RecordListTooLargeError,
    SaslAuthenticationFailedError,
    UnsupportedCompressionTypeError,
    UnsupportedForMessageFormatError,
    UnsupportedVersionError,
)
from stream_detector.connectors.kafka.client.producer import Producer, given_up
from stream_detector.connectors.kafka.connection.settings import refusal
from stream_detector.errors import (
    ConnectorError,
    JournalRecordTooLargeError,
    OutputError,
    RefusedError,
)
from stream_detector.log_fields import fields
from stream_detector.messages import LEFT_OUT, Outgoing, refitted, size_bytes, with_key

RUNBOOK = "see docs/runbook.md#output-refused"

log = logging.getLogger(__name__)

_SETTLE_SECONDS = 1.0
_LOOK_SECONDS = 0.05
_SHRINK = 0.8
_MARKS = 3
"""So many headers at the end may tell what is not as it was."""

_MOST_DEPTH = 8


class Kind(IntEnum):
    """Kinds of errors by what helps; the most telling one is the largest."""

    TRANSIENT = 0
    """Trying again may help, or the outcome is not known."""
    MOVED_ON = 1
    """The group has given the work to somebody else."""
    PERMANENT = 2
    """The broker takes nothing of this sort."""
    RECORD = 3
    """This one message, not the others."""
    SIZE = 4
    RIGHT = 5


_KINDS: tuple[tuple[Kind, tuple[type[Exception], ...]], ...] = (
    (Kind.RIGHT, (AuthorizationError, SaslAuthenticationFailedError)),
    (Kind.SIZE, (MessageSizeTooLargeError, RecordListTooLargeError)),
    (Kind.RECORD, (InvalidRecordError, InvalidTimestampError)),
    (
        Kind.PERMANENT,
        (
            InvalidConfigurationError,
            InvalidRequiredAcksError,
            InvalidTopicError,
            InvalidTransactionTimeoutError,
            PolicyViolationError,
            UnsupportedCompressionTypeError,
            UnsupportedForMessageFormatError,
            UnsupportedVersionError,
        ),
    ),
    (Kind.MOVED_ON, (CommitFailedError, FencedInstanceIdError, RebalanceInProgressError)),
    (Kind.RECORD, (ValueError, TypeError, OverflowError)),
)


def kind_of(error: BaseException) -> Kind:
    """Return the kind of an error by itself; whatever is not in the table is transient."""
    return next((kind for kind, types in _KINDS if isinstance(error, types)), Kind.TRANSIENT)


def root_of(error: BaseException) -> BaseException:
    """The most telling error among those that this one was made of: itself where none says more."""
    return max(_chain(error, _MOST_DEPTH), key=kind_of)


def _chain(error: BaseException, depth: int) -> Iterator[BaseException]:
    yield error
    if depth == 0:
        return
    for one in (error.__cause__, *error.args):
        if isinstance(one, BaseException):
            yield from _chain(one, depth - 1)


@dataclass(slots=True)
class Sent:
    """Message given to the client: ``message`` as ``written``; None for the journal's."""

    topic: str
    message: Outgoing | None
    written: Outgoing | None = None
    future: Any = None
    error: BaseException | None = None

    def failure(self) -> BaseException | None:
        """Why it was not written, as far as that is known by now."""
        if self.error is None and self.future is not None and self.future.failed():
            return self.future.exception  # type: ignore[no-any-return]
        return self.error

    def answered(self) -> bool:
        """Tell whether the failure is of this message's own batch, not of one given up for it."""
        if self.future is None:
            # What the client says of an earlier message has that one's error inside.
            return self.error is not None and root_of(self.error) is self.error
        return not given_up(self.future)


@dataclass(slots=True)
class Adaptation:
    """Limits that this output has met: sizes that were refused, topics that want keys.

    State: both; forgotten when the output is opened by a new process.
    """

    limits: dict[str, int] = field(default_factory=dict)
    keyed: set[str] = field(default_factory=set)

    def apply(self, topic: str, message: Outgoing) -> Outgoing:
        """The message as the topic takes it, as far as is known."""
        if topic in self.keyed and message.key is None:
            message = with_key(message)
        limit = self.limits.get(topic)
        return message if limit is None else refitted(message, limit)

    def learn(self, sent: Sent, error: BaseException) -> bool:
        """Take a refusal in; whether the message has another form that may be taken."""
        topic, message, written = sent.topic, sent.message, sent.written
        if message is None or written is None:
            return False
        kind = kind_of(error)
        if kind is Kind.SIZE:
            size = size_bytes(written)
            limit = int(size * _SHRINK)
            if size_bytes(refitted(message, limit)) >= size:
                return False
            self.limits[topic] = min(limit, self.limits.get(topic, limit))
            return True
        if kind is Kind.RECORD and written.key is None and "without key" in str(error):
            self.keyed.add(topic)
            return True
        return False


def hand_over(producer: Producer, topic: str, message: Outgoing, adaptation: Adaptation) -> Sent:
    """Give a message to the client, in the form that its topic takes; never raises over it."""
    written = adaptation.apply(topic, message)
    sent = Sent(topic, message, written)
    try:
        sent.future = producer.send(
            topic,
            written.value,
            key=written.key,
            headers=written.headers,
            timestamp_ms=written.timestamp_ms,
        )
    except SEND_ERRORS as error:
        sent.error = error
    return sent


def confirm(sent: Sequence[Sent], deadline: float) -> bool:
    """Wait until everything is written: True; until something has failed, or time is up: False.

    Where one has failed the others are waited for a moment: one of them may know why. Some are
    never heard of again (kafka-python 3.0.12: a batch that was drained when another one failed).
    """
    left = [one for one in sent if one.error is None]
    failed = len(left) < len(sent)
    while left and time.monotonic() < deadline:
        if not failed and any(one.future.failed() for one in left):
            failed = True
            deadline = min(deadline, time.monotonic() + _SETTLE_SECONDS)
        with contextlib.suppress(*SEND_ERRORS):
            left[0].future.get(timeout=_LOOK_SECONDS)
        left = [one for one in left if not one.future.succeeded()]
        if failed and all(one.future.is_done for one in left):
            break
        waiting = [one for one in left if not one.future.is_done]
        left = waiting + [one for one in left if one.future.is_done]
    return not failed and not left


def worst(sent: Sequence[Sent]) -> list[tuple[Sent, BaseException]]:
    """The failures that tell most, with their roots: those of the broker's answers if there are."""
    found = [(one, root_of(error)) for one in sent if (error := one.failure()) is not None]
    answers = [(one, error) for one, error in found if one.answered()]
    found = answers or found
    most = max((kind_of(error) for _, error in found), default=Kind.TRANSIENT)
    return [(one, error) for one, error in found if kind_of(error) is most]


def permanent(one: Sent, error: BaseException, kafka: KafkaConfig) -> ConnectorError | None:
    """Return the error to raise where no further attempt would help; None where one may."""
    kind = kind_of(error)
    if kind is Kind.RIGHT:
        refused = refusal(error, f"write to {one.topic}", kafka)
        return refused or RefusedError(f"not authorised to write to {one.topic}: {error!r}")
    if kind in (Kind.TRANSIENT, Kind.MOVED_ON):
        return None
    what = "the journal's record"
    if one.written is not None:
        message = one.written
        what = f"the {message.kind} of {message.source}, offset {message.offset}"
        what = f"{what} ({size_bytes(message):,} bytes)"
    text = f"{one.topic} does not take {what}: {_way_on(one, error)}; {RUNBOOK}"
    if one.message is None and kind is Kind.SIZE:
        return JournalRecordTooLargeError(text)
    return OutputError(text)


def _way_on(one: Sent, error: BaseException) -> str:
    if kind_of(error) is Kind.SIZE:
        if "max_request_size" in str(error):
            return "it is too large for kafka.producer.max_request_size: raise that to 1048576"
        return (
            f"it is too large. Raise max.message.bytes of the topic {one.topic} to 1048588, its "
            "default (or message.max.bytes of the broker, if that is less)"
        )
    text = " ".join(str(part) for part in error.args if part) or type(error).__name__
    if isinstance(error, InvalidTimestampError) or "Timestamp" in text:
        return (
            f"{text}. Is this machine's clock right? Else set message.timestamp.type="
            f"LogAppendTime on {one.topic}, or widen message.timestamp.before.max.ms and "
            "message.timestamp.after.max.ms"
        )
    if "without key" in text:
        return f"{text}. Set cleanup.policy=delete on {one.topic}"
    if isinstance(error, UnsupportedCompressionTypeError):
        return f"{text}. Set kafka.producer.compression_type to one that the broker has"
    return f"{type(error).__name__}: {text}. Look at the settings of {one.topic} at the broker"


OnCut: TypeAlias = Callable[[int], None]
"""Told how many messages were written without a part."""


def say_what_was_left_out(sent: Sequence[Sent], on_cut: OnCut | None = None) -> None:
    """Log, in one line, what was written in a smaller form than it was made in, or cut."""
    cut = [
        (one, header)
        for one in sent
        if one.written is not None
        for name, header in one.written.headers[-_MARKS:]
        if name == LEFT_OUT
    ]
    if not cut:
        return
    if on_cut is not None:
        on_cut(len(cut))
    first, header = cut[0]
    assert first.written is not None
    log.warning(
        "%d messages were too large and were written without a part. The first: the %s of %s, "
        "offset %d, to %s, without %s; see docs/runbook.md#streamdetectormessagescut",
        len(cut),
        first.written.kind,
        first.written.source,
        first.written.offset,
        first.topic,
        header.decode("utf-8", "replace"),
        extra=fields("message-cut", stage="output", topic=first.topic, messages=len(cut)),
    )
