"""What became of an attempt to deliver, and what an answer by HTTP means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias, get_args

from stream_detector.connectors.http_client import Answer, NoAnswerError
from stream_detector.visible import shown

Failure: TypeAlias = Literal[
    "unreachable", "timeout", "throttled", "server_error", "denied", "refused", "unwritable"
]
FAILURES: tuple[Failure, ...] = get_args(Failure)

MOST_RETRY_AFTER_SECONDS = 3600.0
"""Whoever says later is asked again after this."""

_SAID = 200
_THROTTLED, _SERVER = 429, 500
_LATER = frozenset({408, 409, 421, 425, _THROTTLED})
"""Answers below 500 that may be others next time; 409: the same key is being worked on."""
_DENIALS = frozenset({401, 402, 403, 404, 405, 407, 410, 426, 451, 511})
"""Answers that are about the address or the login, most of the time, not about the message."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message.

    Attributes:
        kind: ``sent``; ``away``, to be tried again; ``denied``: the target refuses us, whatever we
            send; ``refused``: it refuses this message, and would again.
        reason: of a failure, by the metric's word.
        said: of a failure, in words.
        wait_seconds: how long the target wants to be left alone.
    """

    kind: Literal["sent", "away", "denied", "refused"]
    reason: Failure | None = None
    said: str = ""
    wait_seconds: float = 0.0


SENT = Outcome("sent")


def no_answer(error: NoAnswerError) -> Outcome:
    """Return what it means that there was no answer."""
    return Outcome("away", error.kind, shown(error, _SAID))


def judged(host: str, answer: Answer) -> Outcome:
    """Return what an answer means (RFC 9110, section 15)."""
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - success
        return SENT
    body = shown(answer.body.decode("utf-8", "replace"), _SAID)
    said = f"{host} answers with status {status}" + (f": {body}" if body else "")
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        said = f"{host} answers with status {status}: no redirect is followed, correct the url"
        return Outcome("denied", "denied", said)
    if status in _DENIALS:
        return Outcome("denied", "denied", said)
    if status >= _SERVER or status in _LATER:
        reason: Failure = "throttled" if status == _THROTTLED else "server_error"
        return Outcome("away", reason, said, _retry_after(answer))
    return Outcome("refused", "refused", said)


def _retry_after(answer: Answer) -> float:
    """Seconds that the header asks for, at most an hour; 0 where it says nothing."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004 - seconds
        seconds = float(text)
    else:
        try:
            until = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return 0.0
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        seconds = (until - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_SECONDS)
