"""All features of a configuration, one column after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import (
    CategoricalFeatureConfig,
    Config,
    Feature,
    TimeFeatureConfig,
    WindowConfig,
)
from stream_detector.detectors.stored import LARGEST_TIME_MS, read_branch
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, Float64, Int64, State
from stream_detector.features.calendar import Calendar, TimeEncoder
from stream_detector.features.categories import RarityEncoder, category_encoder
from stream_detector.features.columns import (
    Encoder,
    FeatureGroup,
    Remembers,
    Transform,
    undo_transform,
    unique_names,
)
from stream_detector.features.encoders import NumberEncoder
from stream_detector.features.one_hot import OneHotEncoder
from stream_detector.features.risk import RiskWindow
from stream_detector.features.windows import KeyedWindow
from stream_detector.tables.lookups import Lookups


class FeatureExtractor:
    """Turns events into numbers, and remembers what that needs: windows and tables of categories.

    The bits of a row do not depend on how the stream is cut into calls of ``extract``;
    ``end_chunk`` is the only place where anything is forgotten.

    Attributes:
        names: one for each column.
        groups: what the lines of an explanation are about; every column is in one group.
        calendar: what stands for parts of the time whose cycle is not known yet.
        lookups: of the keys of the events of the last ``extract``; for others to look them up by.
    """

    def __init__(self, config: Config, plan: FieldPlan, *, by_id: bool = False) -> None:
        """``by_id``: labels come by the id of their event, as they do with `kafka.labels`."""
        by_id = by_id or config.labels_have_topic
        time_field = " ".join(config.event.time.names) if config.event.time is not None else None
        encoders = [_encoder(feature, plan, time_field) for feature in config.features]
        labels = _window_labels(config.windows)
        self.lookups = Lookups()
        self._windows = {
            label: KeyedWindow(window, plan.numeric, plan.text, label, self.lookups)
            for window, label in zip(config.windows, labels, strict=True)
        }
        risks = config.labels.risk if config.labels is not None else []
        self._risks = {
            label: RiskWindow(risk, config.labels, plan.text, by_id=by_id, lookups=self.lookups)
            for risk, label in zip(risks, unique_names([each.key for each in risks]), strict=True)
            if config.labels is not None
        }
        self._encoders: list[Encoder] = [
            *encoders,
            *self._windows.values(),
            *self._risks.values(),
        ]
        keys = [window.key for window in config.windows] + [risk.key for risk in risks]
        self._keys: list[str | None] = [*[None] * len(encoders), *keys]
        self._tables = {
            str(position): encoder
            for position, encoder in enumerate(encoders)
            if isinstance(encoder, OneHotEncoder | RarityEncoder)
        }
        self._cycles = {
            str(position): encoder
            for position, encoder in enumerate(encoders)
            if isinstance(encoder, TimeEncoder)
        }
        self.names = unique_names([name for each in self._encoders for name in each.columns])
        self._transforms = [each for encoder in self._encoders for each in encoder.transforms]
        self._spans: list[slice] = []
        self._owner: dict[str, tuple[Encoder, slice, int]] = {}
        self.groups = self._place()
        self.calendar = Calendar(
            [
                (encoder, span)
                for encoder, span in zip(self._encoders, self._spans, strict=True)
                if isinstance(encoder, TimeEncoder)
            ]
        )

    def _place(self) -> tuple[FeatureGroup, ...]:
        """Give each encoder its columns; the groups with indices and names that are unique."""
        groups: list[FeatureGroup] = []
        owners: list[tuple[Encoder, slice, int]] = []
        begin = 0
        for encoder in self._encoders:
            span = slice(begin, begin + len(encoder.columns))
            self._spans.append(span)
            for index, group in enumerate(encoder.groups):
                columns = tuple(begin + column for column in group.columns)
                groups.append(replace(group, columns=columns))
                owners.append((encoder, span, index))
            begin = span.stop
        self._makers = [
            (encoder, span, frozenset(name for group in encoder.groups for name in group.made_of))
            for encoder, span in zip(self._encoders, self._spans, strict=True)
        ]
        names = unique_names([group.name for group in groups])
        self._owner = dict(zip(names, owners, strict=True))
        return tuple(replace(group, name=name) for group, name in zip(groups, names, strict=True))

    def extract(self, batch: EventBatch) -> Float64:
        """Features of accepted events, at most one chunk of them; windows and tables move on.

        Returns:
            (events, len(names)) float64: NaN where a value is missing and the policy is ``mean`` or
            ``indicator``, and where the stream has not been through the cycle of a part of the
            time (see ``calendar``); finite otherwise, within ±1e100.
        """
        features = np.empty((len(batch), len(self.names)))
        self.lookups.begin(len(batch))
        for encoder, span in zip(self._encoders, self._spans, strict=True):
            encoder.encode(batch, features[:, span])
        return features

    def end_chunk(self) -> None:
        """A full chunk has been seen: let windows and tables forget what is too much."""
        for remembering in (
            *self._tables.values(),
            *self._windows.values(),
            *self._risks.values(),
        ):
            remembering.end_chunk()

    def hypothetical(
        self, variants: EventBatch, row: int, x: Float64, changed: frozenset[str]
    ) -> Float64:
        """Features that an event would have had, had its own fields been others; pure.

        Args:
            variants: the event again and again, with other numbers, texts or times; what has not
                changed of it may stand there once.
            row: its row in the batch that ``extract`` was given last.
            x: (features,) float64, what ``extract`` returned for it.
            changed: fields that are others; the time is "".

        Returns:
            (variants, features) float64. What is of the event's own fields is computed again from
            them; what came before it (keys' histories, tables of categories) is as it was.
        """
        features = np.repeat(x[None], len(variants.numeric), axis=0)
        for encoder, span, fields in self._makers:
            if not changed.isdisjoint(fields):
                encoder.hypothetical(variants, row, x[span], features[:, span])
        return features

    def columns_of(self, key: str | None) -> NDArray[np.intp]:
        """Columns that come of the events' history by ``key``; None: by no key."""
        spans = [span for each, span in zip(self._keys, self._spans, strict=True) if each == key]
        return np.concatenate([np.empty(0, np.intp), *(np.arange(s.start, s.stop) for s in spans)])

    def encoder_of(self, group: FeatureGroup) -> Encoder:
        """Return what makes the columns of a group."""
        return self._owner[group.name][0]

    @property
    def windows(self) -> tuple[KeyedWindow, ...]:
        """The windows, in the order of the configuration."""
        return tuple(self._windows.values())

    def transform_of(self, column: int) -> Transform:
        """Return how a column was made from a number in its own unit."""
        return self._transforms[column]

    def describe(self, group: FeatureGroup, batch: EventBatch, row: int, x: Float64) -> Any:
        """Return the value of a group that a person would want to see, as a JSON value.

        Args:
            group: one of ``groups``.
            batch: the events.
            row: which of them.
            x: (features,) float64, what ``extract`` returned for it.

        Returns:
            A number's raw field value, a category's text, a window's number in its own unit
            (events, seconds); None where the value is missing.
        """
        encoder, span, index = self._owner[group.name]
        return encoder.describe(index, batch, row, x[span])

    def in_units(self, column: int, value: float) -> float:
        """A number of a column (say, its running mean) with the column's transform undone."""
        return undo_transform(value, self._transforms[column])

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: what was seen later was seen now."""
        for each in (*self._keyed().values(), *self._cycles.values()):
            each.go_back(mark_ms)

    def take_labels(self, now_ms: int) -> None:
        """Count the labels that are known at ``now_ms`` of event time, at a chunk's end."""
        for risk in self._risks.values():
            risk.take_labels(now_ms)

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of earlier events, each with the identity of its event; which were met."""
        met = np.zeros(len(ids), dtype=bool)
        for risk in self._risks.values():
            met |= risk.set_labels(ids, labels)
        return met

    @property
    def risk_events(self) -> dict[tuple[str, str], int]:
        """Events held by each ``labels.risk`` section, those that wait and those counted."""
        held = {(label, "waiting"): risk.waiting for label, risk in self._risks.items()}
        return held | {(label, "counted"): risk.counted for label, risk in self._risks.items()}

    @property
    def keys_held(self) -> dict[str, int]:
        """Keys in memory, by window."""
        return {label: each.keys_held for label, each in self._keyed().items()}

    @property
    def keys_evicted(self) -> dict[str, int]:
        """Keys forgotten since the beginning, by window."""
        return {label: each.keys_evicted for label, each in self._keyed().items()}

    def _keyed(self) -> dict[str, KeyedWindow | RiskWindow]:
        risks = {f"{label}.risk": risk for label, risk in self._risks.items()}
        return {**self._windows, **risks}

    def state(self) -> State:
        """Windows, tables of categories and cycles, and the names of the columns they make."""
        return {
            "names": list(self.names),
            "tables": {name: table.state() for name, table in self._tables.items()},
            "windows": {label: window.state() for label, window in self._windows.items()},
            "risks": {label: risk.state() for label, risk in self._risks.items()},
            "cycles": {name: cycle.state() for name, cycle in self._cycles.items()},
        }

    def restore(self, state: State, latest_ms: int = LARGEST_TIME_MS) -> None:
        """Take the state in, which has seen nothing after ``latest_ms``.

        Raises:
            StateMismatchError: the state makes other columns than this configuration.
        """
        given = list(state["names"])
        if given != list(self.names):
            odd = sorted(set(given) ^ set(self.names))[:3] or ["their order"]
            raise StateMismatchError(
                f"the state has {len(given)} features, the configuration {len(self.names)}; "
                f"they differ in {', '.join(odd)}"
            )
        parts: dict[str, Mapping[str, Remembers]] = {
            "tables": self._tables,
            "windows": self._windows,
            "risks": self._risks,
        }
        for part, remembering in parts.items():
            given_part = state.get(part, {})  # states of older versions have no risks
            if set(given_part) != set(remembering):
                raise StateMismatchError(f"the state has other {part} than the configuration")
            for name, each in remembering.items():
                each.restore(read_branch(given_part, name), latest_ms)
        cycles = state.get("cycles")  # what a state of an older version has learnt is known
        if cycles is not None and set(cycles) != set(self._cycles):
            raise StateMismatchError("the state has other cycles than the configuration")
        for name, cycle in self._cycles.items():
            cycle.restore(None if cycles is None else cycles[name], latest_ms)


def _encoder(feature: Feature, plan: FieldPlan, time_field: str | None) -> Encoder:
    if isinstance(feature, CategoricalFeatureConfig):
        return category_encoder(feature, plan.text)
    if isinstance(feature, TimeFeatureConfig):
        return TimeEncoder(feature, time_field)
    return NumberEncoder(feature, plan.numeric)


def _window_labels(windows: list[WindowConfig]) -> tuple[str, ...]:
    """The key of each window; where several have the same key, with what they look at."""
    keys = [window.key for window in windows]
    return unique_names(
        [
            f"{window.key}[{about}]"
            if keys.count(window.key) > 1 and (about := window.value or window.distinct_of)
            else window.key
            for window in windows
        ]
    )
