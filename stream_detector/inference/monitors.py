"""Proposals of monitors: which key, which bucket, which season; or why there is none. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_detector.events import NO_TIMESTAMP, Float64, Int64
from stream_detector.inference.levels import SEVERAL_VALUES, Level, level_of
from stream_detector.inference.profiles import Profile
from stream_detector.inference.seasons import season_of
from stream_detector.inference.silences import keyed_silence, whole_silence
from stream_detector.inference.times import TimeChoice, only_dates

_DAY = 86_400.0
_BUCKETS = (("5m", 300.0), ("15m", 900.0), ("1h", 3600.0), ("3h", 10_800.0), ("6h", 21_600.0))
_LONGEST = ("1d", _DAY)
_SEVERAL = 5.0
"""Events that a typical key should have in a bucket: of fewer, none is hardly strange."""

_QUICK = 900.0
"""Buckets up to here are as good as one another: who looks has to read the alert first."""

_HOUR = 3600.0
"""A season knows hours: a shorter bucket would take each for even within itself."""

_FEW_KEYS, _LOW = 20, 3.5
"""Of so few keys more is alerted: .7 false ones a key and four weeks (departures, draw 11), where
the default of 4.5 brings .2 and finds 30 of 54 incidents instead of 38."""

_MOST_KEYS = 5000
_LEAST_EVENTS = 20
"""Events of a typical key in the sample, at least."""

_RETURNING = 0.9
"""Share of the last quarter's events that are of keys known from before, at least."""

_PRESENT = 0.6
"""Share of the sample's tenths in which a typical key is there, at least."""

_SPREAD_KEYS = 300
_NO_TIME = (
    "no monitor: no field says when an event happened; where the timestamps of the topic's records "
    "do, add one by hand"
)
_ROOM = 10


@dataclass(frozen=True, slots=True)
class MonitorProposal:
    """Proposal of monitors.

    Attributes:
        entries: settings of each and the comment beside them.
        reasons: why something was not proposed, and what is worth knowing.
    """

    entries: tuple[tuple[dict[str, Any], str], ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A field by which events could be counted.

    Attributes:
        profile: of the field.
        rank: smaller is better, among fields with the same bucket.
        per_second: events of a typical key: the one that the middle event is of.
        bucket: name and seconds.
    """

    profile: Profile
    rank: int
    per_second: float
    bucket: tuple[str, float]


def propose_monitors(
    profiles: Mapping[str, Profile],
    names: Sequence[str],
    choice: TimeChoice | None,
    zone: str | None,
    covered_days: float | None,
    numbers: Sequence[str] = (),
) -> MonitorProposal:
    """Propose monitors of a rate, of silence and of a level.

    Args:
        profiles: of all fields.
        names: of those that could be keys, the best first.
        choice: the time of the events; None: no field is.
        zone: that times are read in; None: not known.
        covered_days: how long all of the data is, as far as can be estimated; None: the sample.
        numbers: fields that are features as numbers.
    """
    if choice is None:
        return MonitorProposal((), (_NO_TIME,))
    times = choice.column.times
    known = times != NO_TIMESTAMP
    seconds = np.sort(times[known]) / 1000
    span = float(seconds[-1] - seconds[0]) if len(seconds) else 0.0
    if len(seconds) < 2 * _LEAST_EVENTS or span <= 0:
        return MonitorProposal((), ("no monitor: too few events with different times",))
    batched = _least_bucket(seconds, dated=only_dates(choice.times))
    days = max(span / _DAY, covered_days or 0.0)
    season, why = season_of(seconds, days)
    least = batched if season in (None, "none") else max(batched, _HOUR)
    whole = _bucket_for(len(seconds) / span, least)
    if whole is None:
        return MonitorProposal(
            (), (f"no monitor: {_rate(len(seconds) / span)} in all is too few to miss any",)
        )
    reasons: list[str] = []
    best = _best_key(profiles, names, (times, known), least, reasons)
    if season is None:
        return MonitorProposal((), (f"no monitor: {why}",))
    common = {"season": season} | ({"zone": zone} if zone and season != "none" else {})
    entries = []
    if best is not None:
        entries.append((_keyed(best, common), _about_key(best, why)))
    bucket, width = whole
    per_second = len(seconds) / span
    together = {"kind": "rate", "name": "all", "bucket": bucket, **common}
    about = f"everything together: about {_count(per_second * width)} in {bucket}"
    entries.append((together, about if best is not None else f"{about}; {why}"))
    silence = _silence(best, seconds, batched)
    if isinstance(silence, str):
        reasons.append(silence)
    else:
        entry, about = silence
        entries.append(({**entry, **common, **_room(best)}, about))
    level = level_of([profiles[name] for name in numbers])
    if level is not None and (found := _level(level, best, per_second, least)) is not None:
        entry, about = found
        entries.append(({**entry, **common}, about))
    if season != "none":
        first = "week" if season == "hour_of_week" else "day"
        reasons.append(
            f"monitors say nothing in the first {first}, which they learn, those of silence not in "
            f"the first two; a {first} of few events teaches little"
        )
    return MonitorProposal(tuple(entries), tuple(reasons))


def _silence(
    best: _Candidate | None, seconds: Float64, batched: float
) -> tuple[dict[str, Any], str] | str:
    """A monitor of silence: of the key that is watched anyway, else of everything."""
    per_second = len(seconds) / float(seconds[-1] - seconds[0])
    if best is None:
        return whole_silence(seconds, per_second, batched)
    name = best.profile.name
    present = per_second * (1 - best.profile.missing_share)
    return keyed_silence(f"silent_{_fit_name(name)}"[:64], name, best.per_second, present, batched)


def _level(
    level: Level, best: _Candidate | None, per_second: float, least: float
) -> tuple[dict[str, Any], str] | None:
    """A monitor of a level by the key that is watched anyway, where it has values enough."""
    entry = {"kind": "level", "of": level.field, "compute": level.compute}
    name = f"{level.compute}_{_fit_name(level.field)}"
    if best is not None:
        bucket = _bucket_for(best.per_second, least, SEVERAL_VALUES)
        if bucket is not None and best.per_second * bucket[1] >= SEVERAL_VALUES:
            keyed = {"name": f"{name}_by_{_fit_name(best.profile.name)}"[:64]}
            keyed |= {"key": best.profile.name, "bucket": bucket[0]}
            several = f"about {_count(best.per_second * bucket[1])} values in {bucket[0]}"
            about = f"{level.about}, by {best.profile.name}; a typical one has {several}"
            return {**entry, **keyed, **_room(best)}, about
    bucket = _bucket_for(per_second, least, SEVERAL_VALUES)
    if bucket is None or per_second * bucket[1] < SEVERAL_VALUES:
        return None
    about = f"{level.about}; everything together has about {_count(per_second * bucket[1])} values"
    return {**entry, "name": name[:64], "bucket": bucket[0]}, f"{about} in {bucket[0]}"


def _fit_name(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)


def _room(best: _Candidate | None) -> dict[str, int]:
    """Room for keys, where there are more of them in the stream than in the sample."""
    if best is None or best.profile.distinct <= _SPREAD_KEYS:
        return {}
    return {"max_keys": 10_000 if best.profile.distinct < 10_000 // _ROOM else 50_000}


def _keyed(best: _Candidate, common: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": "rate",
        "name": f"by_{_fit_name(best.profile.name)}"[:64],
        "key": best.profile.name,
        "bucket": best.bucket[0],
        **common,
        **({"deviations": _LOW} if best.profile.distinct <= _FEW_KEYS else {}),
        **_room(best),
    }


def _about_key(best: _Candidate, why: str) -> str:
    bucket, width = best.bucket
    return (
        f"{best.profile.distinct:,} in the sample, which return; a typical one has about "
        f"{_count(best.per_second * width)} in {bucket}; {why}"
    )


def _best_key(
    profiles: Mapping[str, Profile],
    names: Sequence[str],
    times: tuple[Int64, Any],
    least: float,
    reasons: list[str],
) -> _Candidate | None:
    """The key with the shortest bucket; among those of one bucket the likeliest identity."""
    found: list[_Candidate] = []
    for rank, name in enumerate(names):
        judged = _judge(profiles[name], rank, times, least)
        if isinstance(judged, str):
            reasons.append(f"no monitor by {name}: {judged}")
        else:
            found.append(judged)
    if not found:
        return None
    return min(found, key=lambda each: (max(each.bucket[1], _QUICK), each.rank))


def _judge(profile: Profile, rank: int, times: tuple[Int64, Any], least: float) -> _Candidate | str:
    """A candidate, or why a field is none."""
    if (unfit := _unfit(profile)) is not None:
        return unfit
    all_times, known = times
    rows = [row for row in np.flatnonzero(known).tolist() if profile.values[row] is not None]
    when: Float64 = all_times[rows] / 1000
    order = np.argsort(when, kind="stable")
    keys = [str(profile.values[rows[place]]) for place in order.tolist()]
    typical, events = _typical(keys)
    if (unsteady := _unsteady(keys, when[order], typical, events)) is not None:
        return unsteady
    per_second = events / max(float(when.max() - when.min()), 1.0)
    bucket = _bucket_for(per_second, least)
    if bucket is None:
        return f"a typical value has {_rate(per_second)}, too few to miss any"
    return _Candidate(profile, rank, per_second, bucket)


def _unfit(profile: Profile) -> str | None:
    """Why a field is no key whatever the times are; None where it may be one."""
    if profile.distinct < 2:  # noqa: PLR2004 - one key is everything together
        return "it has one value, so it is everything together"
    if profile.distinct > _MOST_KEYS:
        return f"{profile.distinct:,} values in the sample are too many to be watched one by one"
    if profile.missing_share > 0.1:  # noqa: PLR2004 - of what is missing nothing is counted
        return f"it is missing in {profile.missing_share:.0%} of the events"
    return None


def _unsteady(keys: Sequence[str], when: Float64, typical: str, events: int) -> str | None:
    """Why keys, in the order of time, have no rate of their own; None where they have."""
    if events < _LEAST_EVENTS:
        often = "once" if events == 1 else f"{events} times"
        return f"a typical value comes {often} in the sample, too seldom to have a rate"
    quarter = 3 * len(keys) // 4
    before = set(keys[:quarter])
    if sum(key in before for key in keys[quarter:]) < _RETURNING * (len(keys) - quarter):
        return "its values come and go: much of what comes last was not there before"
    span = max(float(when[-1] - when[0]), 1.0)
    tenths = np.minimum((when - when[0]) / span * 10, 9).astype(int).tolist()
    there = {tenth for tenth, key in zip(tenths, keys, strict=True) if key == typical}
    if len(there) < _PRESENT * len(set(tenths)):
        return "its values come in bursts, with nothing between"
    return None


def _typical(keys: Sequence[str]) -> tuple[str, int]:
    """The key that the middle event is of, where keys are ordered by their events."""
    so_far = 0
    for key, events in sorted(Counter(keys).items(), key=lambda item: (-item[1], item[0])):
        so_far += events
        if 2 * so_far >= len(keys):
            return key, events
    raise ValueError("no keys")


def _bucket_for(
    per_second: float, least: float, several: float = _SEVERAL
) -> tuple[str, float] | None:
    """The shortest bucket in which there are several; a day with two at least; None beyond."""
    for name, seconds in _BUCKETS:
        if seconds >= least and per_second * seconds >= several:
            return name, seconds
    return _LONGEST if per_second * _DAY >= 2 else None  # noqa: PLR2004 - none is then strange soon


def _least_bucket(seconds: Float64, *, dated: bool) -> float:
    """The length that a bucket must have for events that come in batches: two of their gaps."""
    if dated:
        return _DAY
    gaps = np.diff(np.unique(seconds))
    return 2 * float(np.quantile(gaps, 0.9)) if len(gaps) else _DAY


def _rate(per_second: float) -> str:
    """``3 a day``; a day is the longest bucket."""
    count = _count(per_second * _DAY)
    return f"{count} event a day" if count == "1" else f"{count} events a day"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004 - no decimals beyond
