"""How a rule stands: whether it holds, and what it has hidden."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from stream_detector.detectors.stored import LARGEST_COUNT, LARGEST_TIME_MS, read_count
from stream_detector.errors import StateMismatchError
from stream_detector.rules.rule import Rule, check_rule

DAY_MS = 86_400_000

Phase: TypeAlias = Literal["waiting", "active", "disabled", "expired", "over"]
"""``waiting``: made for a time that the stream has not come to; ``expired``: what it covers alerts
once a period; ``over``: it does nothing any more."""

Because: TypeAlias = Literal["label", "rarer", "flood", "person", "elsewhere"]
"""Why a rule was disabled: an event that it hid was a hit; one was far rarer than what the rule was
made from; more came in a day than it may hide; another shard says so."""


@dataclass(slots=True)
class Standing:
    """A rule and its counts.

    Attributes:
        rule: the rule.
        disabled: why it was; empty while it was not.
        hidden: what it has hidden.
        held: what it has held back since it expired, and since the last alert that said so.
        first_ms: event time of the first that it hid; -1 before it.
        last_ms: of the last.
        day: day of event time that ``in_day`` is of.
        in_day: hidden in it.
        quiet_until_ms: after expiry, up to when nothing alerts.
    """

    rule: Rule
    disabled: str = ""
    hidden: int = 0
    held: int = 0
    first_ms: int = -1
    last_ms: int = -1
    day: int = 0
    in_day: int = 0
    quiet_until_ms: int = 0
    made_ms: int = -1
    expires_ms: int = -1

    def __post_init__(self) -> None:
        # Read once: asked for at every raised event.
        self.made_ms, self.expires_ms = self.rule.made_ms, self.rule.expires_ms

    def phase(self, mark_ms: int) -> Phase:
        """Return how it stands at a time of the stream."""
        if self.disabled:
            return "disabled"
        if mark_ms < self.made_ms:
            return "waiting"
        if mark_ms < self.expires_ms:
            return "active"
        return "expired" if mark_ms < 2 * self.expires_ms - self.made_ms else "over"

    def hide(self, time_ms: int, mark_ms: int) -> bool:
        """Count an event that is to be hidden; tells whether it may be, or too many came today."""
        day = mark_ms // DAY_MS
        if day != self.day:
            self.day, self.in_day = day, 0
        most = self.rule.most_per_day
        if most and self.in_day >= most:
            return False
        self.in_day += 1
        self.hidden += 1
        self.first_ms = time_ms if self.first_ms < 0 else min(self.first_ms, time_ms)
        self.last_ms = max(self.last_ms, time_ms)
        return True

    def hold(self, mark_ms: int, period_ms: int) -> int | None:
        """After expiry: count an event and hold it, or let it alert for all that were held.

        Returns:
            How many were held before it; None where it is held.
        """
        if mark_ms < self.quiet_until_ms:
            self.held += 1
            return None
        held, self.held = self.held, 0
        self.quiet_until_ms = mark_ms + period_ms
        return held

    def go_back(self, mark_ms: int, period_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: nothing is quiet for longer than from now."""
        self.quiet_until_ms = min(self.quiet_until_ms, mark_ms + period_ms)

    def state(self) -> dict[str, Any]:
        """The rule as its act has it, and the counts."""
        counts = asdict(self)
        for name in ("rule", "made_ms", "expires_ms"):
            del counts[name]
        return {"rule": msgspec.to_builtins(self.rule), **counts}

    @classmethod
    def of(cls, state: Any) -> Standing:
        """The standing of a state. Raises ``StateMismatchError`` where it is none."""
        try:
            rule = msgspec.convert(state["rule"], Rule)
            check_rule(rule)
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError) as error:
            raise StateMismatchError(f"the state holds no rule: {error}") from error
        disabled = state["disabled"]
        if not isinstance(disabled, str) or len(disabled) > 40:  # noqa: PLR2004 - a word
            raise StateMismatchError("a rule of the state is disabled by no word")
        standing = cls(rule, disabled)
        for name in ("hidden", "held", "in_day"):
            setattr(standing, name, read_count(state, name))
        for name in ("first_ms", "last_ms", "day", "quiet_until_ms"):
            value = state[name]
            if type(value) is not int or not -1 <= value <= 2 * LARGEST_TIME_MS + LARGEST_COUNT:
                raise StateMismatchError(f"a rule of the state: {name} is no time")
            setattr(standing, name, value)
        return standing
