"""What of an event may be otherwise, from where to where, and which of it comes first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.counterfactuals.readable import is_whole, readable, readable_all
from stream_detector.events import EventBatch, Float64
from stream_detector.features import FeatureExtractor
from stream_detector.features.calendar import TimeEncoder
from stream_detector.features.categories import RarityEncoder
from stream_detector.features.columns import FeatureGroup, Transform, undo_exactly, undo_transforms
from stream_detector.features.one_hot import OneHotEncoder
from stream_detector.scaling import RunningScaler

MOST_CHANGES = 3
"""Levers that are named together at most."""

Kind: TypeAlias = Literal["number", "flag", "column", "category", "time"]

_USUAL_VALUES = 2
_OF_THE_VALUE = 0.3
"""Weight of a key's statistic that the event's own value has a part in: to change the value itself
is the plainer advice."""
_TWO_VALUES = 0.99
"""Of the largest variance that a mean between two ends allows (Bhatia and Davis 2000). A number
with as much is one of the ends but for a hundredth; what lies between may be no value at all."""
_LEAST_SHARE = 1e-3
_FEW = 16
"""So few numbers are sooner made one by one."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place where an event may be otherwise, made once for all events.

    Attributes:
        name: of the group of features.
        group: its index.
        kind: ``number`` and ``flag`` of a field of the event, ``category`` likewise; ``column``: a
            statistic of what came before, or a ratio or difference; ``time``: a part of the time.
        place: of its column in the event's numbers or texts; of a ``column`` that of the features.
        column: first one of the group.
        others: the further ones: of a column whether it is missing.
        transform: of the first.
        moves: (groups,) how much of each group's share it has, 0 to 1.
    """

    name: str
    group: int
    kind: Kind
    place: int
    column: int
    others: tuple[int, ...]
    transform: Transform
    moves: Float64


@dataclass(frozen=True, slots=True)
class Lever:
    """A site with an event's own value and what is usual there.

    Attributes:
        site: where.
        actual: the event's value, in its own unit; NaN or None where it is missing.
        targets: usual values, at least one; of a time how many milliseconds to go.
        low, high: the least and the largest value ever seen.
        whole: whether only whole numbers are.
        moves: whether values between target and actual are values, too.
        end: of the usual range, on the event's side; None where the event does not lie beyond it.
    """

    site: Site
    actual: Any
    targets: tuple[Any, ...]
    low: float = math.nan
    high: float = math.nan
    whole: bool = False
    moves: bool = False
    end: float | None = None

    def steps(self, target: float, count: int) -> Float64:
        """(count,) readable values on the way from a target to the actual value, without its ends.

        The way is one of the feature, a logarithm's steps are factors. It ends at what was seen.
        """
        end = min(max(self.actual, self.low), self.high)
        return self.values(target, end, np.arange(1, count + 1) / (count + 1))

    def values(self, begin: float, end: float, ways: Float64) -> Float64:
        """(ways,) readable values at parts, 0 to 1, of the way from one value to another."""
        transform = self.site.transform
        first, last = _onto(begin, transform), _onto(end, transform)
        if len(ways) <= _FEW:
            return np.array([self._value(begin, end, first, last, way) for way in ways.tolist()])
        values = undo_transforms(first + ways * (last - first), transform)
        values = np.minimum(np.maximum(values, min(begin, end)), max(begin, end))
        if self.whole:
            values = np.floor(values) if begin < end else np.ceil(values)
        else:
            values = readable_all(values, begin)
        values[ways >= 1] = end
        return values

    def _value(self, begin: float, end: float, first: float, last: float, way: float) -> float:
        """One of ``values``; ``first`` and ``last`` are the ends as the feature has them."""
        if way >= 1:
            return end
        value = undo_exactly(first + way * (last - first), self.site.transform)
        value = min(max(value, min(begin, end)), max(begin, end))
        if self.whole:
            return float(math.floor(value) if begin < end else math.ceil(value))
        return readable(value, begin)


def sites(config: Config, plan: FieldPlan, features: FeatureExtractor) -> tuple[Site, ...]:
    """Every place where an event of a configuration may be otherwise.

    A key is who it is and stays; so does a category whose values are not remembered.
    """
    groups = features.groups
    keys = {window.key for window in config.windows}
    keys |= {risk.key for risk in (config.labels.risk if config.labels is not None else [])}
    own = {group.field for group in groups if group.kind in ("numeric", "boolean")}
    found: list[Site] = []
    taken: set[str | None] = set()
    for index, group in enumerate(groups):
        kind, place = _kind_of(group, plan, features, keys, own)
        if kind is None or (kind not in ("column", "time") and group.field in taken):
            continue
        moves = np.zeros(len(groups))
        if kind in ("number", "flag", "category"):
            taken.add(group.field)
            moves[[group.field in each.made_of for each in groups]] = 1.0
        elif kind == "time":
            moves[[each.kind == "time" for each in groups]] = 1.0
        else:
            moves[index] = _OF_THE_VALUE if own.intersection(group.made_of) else 1.0
        column = group.columns[0]
        transform = features.transform_of(column)
        others = group.columns[1:]
        found.append(Site(group.name, index, kind, place, column, others, transform, moves))
    return tuple(found)


def _kind_of(  # noqa: PLR0911 - a case for each kind
    group: FeatureGroup,
    plan: FieldPlan,
    features: FeatureExtractor,
    keys: set[str],
    own: set[str | None],
) -> tuple[Kind | None, int]:
    match group.kind:
        case "numeric":
            return "number", plan.numeric.index(group.made_of[0])
        case "boolean":
            return "flag", plan.numeric.index(group.made_of[0])
        case "categorical":
            remembers = isinstance(features.encoder_of(group), OneHotEncoder | RarityEncoder)
            if group.made_of[0] in keys or not remembers:
                return None, 0
            return "category", plan.text.index(group.made_of[0])
        case "time":
            return "time", 0
        case "difference" | "ratio" if own.intersection(group.made_of):
            return None, 0  # it goes with the field that has a feature of its own
        case _:
            return "column", group.columns[0]


class Levers:
    """Finds the levers of events. Stateless."""

    def __init__(self, config: Config, plan: FieldPlan, features: FeatureExtractor) -> None:
        self._features = features
        self._sites = sites(config, plan, features)
        self._moves = np.array([site.moves for site in self._sites])
        self._is_time = np.array([site.kind == "time" for site in self._sites], dtype=bool)
        self._windows = {
            site.group: [
                window
                for window, settings in zip(features.windows, config.windows, strict=True)
                if settings.value == features.groups[site.group].field
            ]
            for site in self._sites
            if site.kind == "number"
        }

    def shares(self, parts: Float64) -> Float64:
        """Shares of an event's score that its levers could change, the largest three first.

        Args:
            parts: (groups,) what each group accounts for, not all 0.
        """
        shares = (self._moves @ parts)[~self._is_time] / parts.sum()
        largest: Float64 = np.sort(shares)[::-1][:MOST_CHANGES]
        return largest

    def of(
        self,
        events: EventBatch,
        row: int,
        raw: Float64,
        parts: Float64,
        scaler: RunningScaler,
        most: int,
    ) -> list[Lever]:
        """The levers of an event, those first that explain most of its score; times come last.

        Args:
            events: the batch that holds it.
            row: its row there.
            raw: (features,) as extracted.
            parts: (groups,) what each group accounts for.
            scaler: what is usual.
            most: how many at most.
        """
        if not self._sites or parts.sum() <= 0:
            return []
        shares = self._moves @ parts
        order = np.lexsort((-shares, self._is_time)).tolist()
        least = _LEAST_SHARE * float(parts.sum())
        levers: list[Lever] = []
        for index in order:
            if len(levers) == most:
                break
            if shares[index] > least:
                lever = self._lever(self._sites[index], events, row, raw, scaler)
                if lever is not None:
                    levers.append(lever)
        return levers

    def _lever(
        self, site: Site, events: EventBatch, row: int, raw: Float64, scaler: RunningScaler
    ) -> Lever | None:
        column = site.column
        if site.kind == "time":
            return self._time(site, int(events.time_ms[row]), raw, scaler)
        if site.kind == "category":
            return self._category(site, events.text[site.place][row], row)
        if scaler.count[column] <= 0:
            return None
        if site.kind == "flag":
            actual = float(events.numeric[row, site.place])
            usual = float(scaler.mean[column] >= 0.5)  # noqa: PLR2004 - more often true than not
            # Both have been seen, or it is what it always was.
            return None if actual == usual else Lever(site, actual, (usual,))
        if site.kind == "number":
            keyed = [window.usual_value(row) for window in self._windows[site.group]]
            return _number(site, float(events.numeric[row, site.place]), keyed, scaler)
        return _number(site, undo_exactly(float(raw[column]), site.transform), [], scaler)

    def _category(self, site: Site, actual: str | None, row: int) -> Lever | None:
        encoder = self._features.encoder_of(self._features.groups[site.group])
        assert isinstance(encoder, OneHotEncoder | RarityEncoder)
        usual = [text for text in encoder.usual_values(row, _USUAL_VALUES + 1) if text != actual]
        return Lever(site, actual, tuple(usual[:_USUAL_VALUES])) if usual else None

    def _time(self, site: Site, time_ms: int, raw: Float64, scaler: RunningScaler) -> Lever | None:
        group = self._features.groups[site.group]
        encoder = self._features.encoder_of(group)
        assert isinstance(encoder, TimeEncoder)
        columns = list(group.columns)
        if np.isnan(raw[columns]).any():
            return None  # its cycle is not known: it has no part in the score
        shift_ms = encoder.shift_ms(time_ms, scaler.mean[columns])
        return Lever(site, time_ms, (shift_ms,)) if shift_ms else None


def _number(
    site: Site, actual: float, keyed: Sequence[float | None], scaler: RunningScaler
) -> Lever | None:
    """The lever of a number; None where it is what it always was."""
    column, transform = site.column, site.transform
    mean, deviation = scaler.mean.item(column), scaler.deviation.item(column)
    low, high = scaler.low.item(column), scaler.high.item(column)
    ends = [_clean(undo_exactly(each, transform)) for each in (low, high)]
    known = [*ends, *([] if math.isnan(actual) else [actual])]
    two = deviation**2 >= _TWO_VALUES * (high - mean) * (mean - low)
    is_wholes = not two and high > low + 1 and all(map(is_whole, known))
    usual = [mean]
    if two:
        usual = [low if mean - low < high - mean else high]
    else:  # where most lie at an end, the mean is nowhere
        if mean + deviation > high:
            usual.insert(0, high)
        if mean - deviation < low:
            usual.insert(0, low)
    values = [_clean(undo_exactly(each, transform)) for each in usual]
    values = [each for each in keyed if each is not None] + values
    targets: list[float] = []
    for value in values:
        inside = min(max(value, ends[0]), ends[1])
        if is_wholes:
            inside = float(round(inside))
        elif inside not in ends:
            inside = readable(inside, ends[0])
        if inside != actual and inside not in targets:
            targets.append(inside)
    if not targets:
        return None
    moves = not two and not math.isnan(actual)
    end = _usual_end(actual, ends, is_wholes, site, scaler) if moves else None
    return Lever(site, actual, tuple(targets), ends[0], ends[1], is_wholes, moves, end)


def _usual_end(
    actual: float, seen: Sequence[float], wholes: bool, site: Site, scaler: RunningScaler
) -> float | None:
    """Mean and two deviations on the event's side, within what was seen; None for one inside."""
    mean, reach = scaler.mean.item(site.column), 2 * scaler.deviation.item(site.column)
    lower, upper = (undo_exactly(each, site.transform) for each in (mean - reach, mean + reach))
    end = min(max(actual, lower, seen[0]), upper, seen[1])
    if end == actual:
        return None
    toward = min(max(undo_exactly(mean, site.transform), seen[0]), seen[1])
    if wholes:
        return float(math.floor(end) if toward < end else math.ceil(end))
    return readable(end, toward)


def _onto(value: float, transform: Transform) -> float:
    """``apply_transform`` of one number, but for its last digit."""
    if transform == "log":
        return math.copysign(math.log1p(abs(value)), value)
    return math.copysign(math.sqrt(abs(value)), value) if transform == "sqrt" else value


def _clean(value: float) -> float:
    """A number without what rounding has added behind its twelfth digit."""
    return float(f"{value:.12g}")
