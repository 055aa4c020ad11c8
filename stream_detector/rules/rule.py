"""A rule: what somebody holds for a false alarm, until when, and how far it may reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec

from stream_detector.cells.times import LATEST_TIME_MS
from stream_detector.rules.box import Box, Text

LONGEST_MS = 366 * 86_400_000
"""A rule ends within a year: what nobody has looked at for so long, nobody answers for."""

STRANGER = 10.0
"""An event so many times as rare as what the rule was made from is something else."""

RAREST = 1e9
"""No score is rarer (``threshold.AlertThreshold.rarity``)."""

LEAST_SHARE = 0.05
"""A reason with a smaller share hardly explains anything."""

_MOST = 2**52

RuleId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Owner = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Moment = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class Rule(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"origins": "from"},
):
    """Hides raised events, or findings of a monitor, that lie in its box.

    Attributes:
        id: its name.
        owner: who answers for it.
        why: what it is about, in words.
        made: event time from which on it holds, ISO 8601.
        expires: event time up to which it holds.
        origins: ids of the alerts that it was made from.
        box: what it covers.
        rarest: rarity of the rarest of them: what is ``STRANGER`` times rarer is not hidden.
        score: highest score of them: neither is what is so much rarer than that is by now. None:
            not known.
        reasons: features that explained them, and with a dot at the end all statistics of a
            history; an event that is strange for others is not hidden. None: any.
        monitor: whose findings it covers; empty for events.
        most_per_day: how many it may hide in a day of event time; 0: any number.
    """

    id: RuleId
    owner: Owner
    why: Words
    made: Moment
    expires: Moment
    origins: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=20)]
    box: Box
    rarest: float
    score: float | None = None
    reasons: Annotated[tuple[Text, ...], msgspec.Meta(max_length=20)] = ()
    monitor: Annotated[str, msgspec.Meta(max_length=500)] = ""
    most_per_day: Annotated[int, msgspec.Meta(ge=0, le=_MOST)] = 0

    @property
    def made_ms(self) -> int:
        """``made`` in milliseconds since 1970."""
        return time_ms_of(self.made)

    @property
    def expires_ms(self) -> int:
        """``expires`` likewise."""
        return time_ms_of(self.expires)

    def stranger_from(self, rarity_of: Callable[[float], float] | None) -> float:
        """The rarity from which on an event is something else.

        What is rare changes: an event that recurs for the first time in months may be a thousand
        times as rare as it was, since its like have left the last scores. So what the rule was made
        from is rated as of now, too.

        Args:
            rarity_of: rarity of a score as of now; None: scores say nothing.
        """
        if rarity_of is None or self.score is None:
            return STRANGER * self.rarest
        return STRANGER * max(self.rarest, rarity_of(self.score))

    def explains(self, reasons: list[dict[str, Any]]) -> bool:
        """Tell whether an event is strange for what the rule was made from.

        At least half of what is explained of it must be. Where nothing is explained, or the rule
        was made where nothing was, the box alone says.
        """
        if not self.reasons or not reasons:
            return True
        histories = tuple(name for name in self.reasons if name.endswith("."))
        shares = [
            float(one["share"])
            for one in reasons
            if one["feature"] in self.reasons
            or (histories and one["feature"].startswith(histories))
        ]
        return 2 * sum(shares) >= sum(float(one["share"]) for one in reasons)


def time_ms_of(text: str) -> int:
    """Milliseconds since 1970 of a time with its zone, ISO 8601. Raises ``ValueError``."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone: for UTC, put a Z at the end")
    time_ms = round(moment.timestamp() * 1000)
    if not 0 <= time_ms <= LATEST_TIME_MS:
        raise ValueError(f"{text} is no time of an event")
    return time_ms


def check_rule(rule: Rule) -> None:
    """Raise ``ValueError`` where a rule contradicts itself; the message has all that is wrong."""
    if found := list(_faults(rule)):
        raise ValueError("; ".join(found))


def _faults(rule: Rule) -> Iterator[str]:
    yield from rule.box.faults()
    if not 1.0 <= rule.rarest <= RAREST:
        yield "rarest is a rarity: one event in so many, from 1 to 1e9"
    if rule.score is not None and not math.isfinite(rule.score):
        yield "score is no number"
    try:
        made, expires = rule.made_ms, rule.expires_ms
    except ValueError as error:
        yield str(error)
        return
    if expires <= made:
        yield "it expires before it holds"
    elif expires - made > LONGEST_MS:
        yield "it holds for longer than a year"
