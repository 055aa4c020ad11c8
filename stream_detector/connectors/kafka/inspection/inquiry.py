"""Asks the broker, one question at a time, within one deadline; what is not answered is said.

The admin client's calls have time limits of their own, which do not add up to one, and a broker
that answers half of them is no rarity. So each runs on a thread that is waited for, and what it
raises becomes a finding: one missing right must not hide the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from stream_detector.connectors.kafka.client.errors import (
    ADMIN_ERRORS,
    AuthorizationError,
    KafkaError,
    UnsupportedVersionError,
)
from stream_detector.connectors.kafka.inspection.findings import Finding, not_checked

_PAUSE_SECONDS = 0.2


class Inquiry:
    """Questions to a broker. State: what was not answered, and why."""

    def __init__(self, deadline: float, each_seconds: float) -> None:
        """``deadline`` by ``time.monotonic``; ``each_seconds``: the limit of one question."""
        self._deadline = deadline
        self._each = each_seconds
        self.unanswered: list[Finding] = []

    def note(self, message: str, section: str) -> None:
        """Remember that something was not told."""
        self.unanswered.append(not_checked(message, section))

    def ask(
        self,
        subject: str,
        section: str,
        call: Callable[[], Any],
        *,
        right: str = "",
        silent: tuple[type[KafkaError], ...] = (),
    ) -> Any:
        """Return what ``call`` returns; None where it fails.

        Args:
            subject: what stays unknown without an answer, for the finding.
            section: of the runbook.
            call: one or more calls of the admin client.
            right: what has to be granted where the broker refuses.
            silent: errors that are answers; they are raised.
        """
        end = min(self._deadline, time.monotonic() + self._each)
        while True:
            answer, raised = _run(call, max(end - time.monotonic(), 0.05))
            if raised is None:
                return answer
            if isinstance(raised, silent):
                raise raised
            again = isinstance(raised, KafkaError) and raised.retriable
            if not again or time.monotonic() + _PAUSE_SECONDS > end:
                self.note(f"{subject}: {_why(raised, right)}", section)
                return None
            time.sleep(_PAUSE_SECONDS)


def _run(call: Callable[[], Any], limit_seconds: float) -> tuple[Any, BaseException | None]:
    """The call's answer or its error, ``TimeoutError`` after the limit."""
    found: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            found.append((call(), None))
        except ADMIN_ERRORS as error:
            found.append((None, error))

    thread = threading.Thread(target=work, name="inquiry", daemon=True)
    thread.start()
    thread.join(limit_seconds)
    if not found:
        return None, TimeoutError("the broker does not answer in time")
    return found[0]


def _why(error: BaseException, right: str) -> str:
    if isinstance(error, AuthorizationError):
        return f"not authorised to ask; grant {right}" if right else "not authorised to ask"
    if isinstance(error, UnsupportedVersionError):
        return "this broker does not know the question"
    if isinstance(error, TimeoutError):
        return str(error)
    return f"the broker answers {error!r:.200}"
