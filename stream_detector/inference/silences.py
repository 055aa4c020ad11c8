"""Whether a monitor of silence is worth proposing, and after how long it would speak. No I/O."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stream_detector.events import Float64
from stream_detector.inference.judgements import readable_duration

_WEEK = 604_800.0
_RAREST = 1000.0
"""A gap is alerted that lasts as long as one in so many at most."""

_DAY = 86_400.0
_BATCHES = 3600.0
_OF_BATCHES = 10.0
"""Events in twice the gap that one of ten exceeds: by chance there are some five."""

_ABRUPT = 4.0
"""How many times as busy as the hour before an hour may be: else mornings look like silences."""


def missed_after(per_second: float, all_per_second: float) -> float:
    """Seconds after which silence is alerted, once a week by chance at most of all keys together.

    Of events that come by chance a gap lasts for x times the mean one with probability exp(-x).

    Args:
        per_second: events of the key.
        all_per_second: those of all keys: as many gaps may be long by chance.
    """
    return math.log(max(all_per_second * _WEEK, _RAREST)) / per_second


def keyed_silence(
    name: str, key: str, per_second: float, all_per_second: float, batched: float
) -> tuple[dict[str, Any], str] | str:
    """Settings of a monitor by a key and what to say of it, or why there is none.

    Args:
        name: of the monitor.
        key: the field.
        per_second: events of a typical key.
        all_per_second: those of all of them.
        batched: seconds that batches of events are apart.
    """
    after = missed_after(per_second, all_per_second)
    if (reason := _unfit(after, batched, all_per_second)) is not None:
        return f"no monitor of silence by {key}: {reason}"
    return {"kind": "silence", "name": name, "key": key}, (
        f"silence of one {key} while others go on: a typical one has an event every "
        f"{readable_duration(1 / per_second)} and is missed after about {readable_duration(after)}"
    )


def whole_silence(
    seconds: Float64, per_second: float, batched: float
) -> tuple[dict[str, Any], str] | str:
    """The same where all events are taken together; ``seconds``: their times, in order."""
    after = missed_after(per_second, per_second)
    reason = _unfit(after, batched, per_second)
    if reason is None and _abrupt(seconds):
        reason = (
            "not seen to come evenly enough: where a day begins abruptly, the gap before it looks "
            "too long"
        )
    if reason is not None:
        return f"no monitor of silence: {reason}"
    return {"kind": "silence", "name": "silence"}, (
        f"silence of everything: an event comes every {readable_duration(1 / per_second)}, and "
        f"none is alerted after about {readable_duration(after)}"
    )


def _unfit(after: float, batched: float, all_per_second: float) -> str | None:
    if after > _DAY:
        return f"it would be missed after {readable_duration(after)} only"
    if batched > _BATCHES and batched * all_per_second > _OF_BATCHES:
        return f"events come in batches, up to {readable_duration(batched)} apart"
    return None


def _abrupt(seconds: Float64) -> bool:
    """Tell whether an hour (of the day, in UTC) is much busier than the one before it."""
    hours = (seconds // 3600).astype(np.int64)
    if seconds[-1] - seconds[0] >= _DAY:
        counts = np.bincount(hours % 24, minlength=24)
        counts = np.append(counts, counts[0])
    else:
        counts = np.bincount(hours - hours[0])[1:-1]  # those that the sample has all of
    return len(counts) < 2 or bool((counts[1:] > _ABRUPT * np.maximum(counts[:-1], 0.25)).any())  # noqa: PLR2004 - two to compare
