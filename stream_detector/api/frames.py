"""Frames of pandas, Polars and whatever narwhals reads, as JSON events, a column at a time.

Columns are held against the configuration before the first row is read: one that is missing, twice
there or of a type that cannot be meant is an error that says what was given and what is expected.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, TypeAlias

from stream_detector.api.values import EventWriter, UnusableValueError
from stream_detector.config import Config, FieldPlan
from stream_detector.connectors.tables import RowEncoder

_LAZY = "LazyFrame"
_SHOWN = 20
_LARGEST_WHOLE = 2.0**53
_WHOLE = (
    "{0}: read as text and holds floats that are whole numbers, as pandas makes of numbers with "
    'gaps: 17.0 is taken as "17", as the events of a topic have it. '
    'frame["{1}"].astype("Int64") says so itself'
)

Values: TypeAlias = list["bytes | UnusableValueError"]
"""JSON of each row, or why a row is no event."""


class FrameError(ValueError):
    """A frame that does not fit the configuration; nothing of it was processed."""


def is_frame(events: object) -> bool:
    """Tell whether this is a table with columns, of whatever library."""
    if isinstance(events, type):
        return False
    # A lazy frame warns whoever asks for its columns.
    return type(events).__name__ == _LAZY or hasattr(events, "columns")


def _outer(name: str) -> str:
    """The column that a path begins in: ``tags`` of ``tags[0]``."""
    return name.partition(".")[0].partition("[")[0]


class FrameReader:
    """Reads frames under a configuration. Holds no state."""

    def __init__(self, config: Config, writer: EventWriter) -> None:
        plan = FieldPlan.of(config)
        self._writer = writer
        self._numeric = frozenset(plan.numeric) - plan.boolean
        self._id = config.event.id
        self._text = frozenset({*plan.text, *([self._id] if self._id is not None else [])})
        wanted = [*plan.numeric, *plan.text]
        times = config.event.time.names if config.event.time is not None else ()
        self._times = frozenset(times)
        wanted += [name for name in (self._id, *times) if name is not None]
        self._wanted = tuple(dict.fromkeys(wanted))

    def read(self, frame: Any, rows: int) -> Iterator[Values]:
        """The rows, at most so many at a time. Raises ``FrameError``."""
        table = self._opened(frame)
        if not table.columns and not len(table):
            return
        self._check_columns(table, frame)
        whole = [name for name in table.columns if name in self._text and _whole(table[name])]
        if whole:
            warnings.warn(_WHOLE.format(_listed(whole), whole[0]), FrameWarning, stacklevel=4)
        for start in range(0, len(table), rows):
            yield self._encoded(table[start : start + rows], frozenset(whole))

    def _opened(self, frame: Any) -> Any:
        """The frame behind narwhals' interface."""
        import narwhals as nw  # noqa: PLC0415 - only where there is a frame

        if type(frame).__name__ == _LAZY or not hasattr(frame, "__len__"):
            message = f"{_kind(frame)} has not been computed yet; give frame.collect()"
            raise FrameError(message)
        names = list(frame.columns)
        if other := [name for name in names if not isinstance(name, str)]:
            raise FrameError(
                f"the column {other[0]!r} is named by {type(other[0]).__name__}; the configuration "
                'names fields by text: frame.columns = ["...", ...]'
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise FrameError(
                f"columns that occur twice: {', '.join(twice[:_SHOWN])}; drop or rename one of each"
            )
        try:
            return nw.from_native(frame, eager_only=True)
        except TypeError as error:
            raise FrameError(
                f"{_kind(frame)} is no frame that can be read; give one of pandas or Polars, or "
                "dicts"
            ) from error

    def _check_columns(self, table: Any, frame: Any) -> None:
        names = set(table.columns)
        # A column `card` of structures has `card.country` inside.
        missing = [n for n in self._wanted if n not in names and _outer(n) not in names]
        if missing:
            raise FrameError(self._missing(missing, table.columns, frame))
        for name in self._wanted:
            if name in names:
                self._check_type(name, table[name])

    def _missing(self, missing: Sequence[str], columns: Sequence[str], frame: Any) -> str:
        message = (
            f"the frame has no column {_listed(missing)}, which the configuration reads; it has "
            f"{_listed(columns)}"
        )
        index = getattr(frame, "index", None)
        names = {*getattr(index, "names", ())} - {None}
        if inside := sorted(names & {*missing}):
            return f"{message}. {_listed(inside)} is its index: give frame.reset_index()"
        times = sorted(self._times & {*missing})
        if len(times) == 1 and type(index).__name__ == "DatetimeIndex":
            return f'{message}. Its index holds times: give frame.reset_index(names="{times[0]}")'
        folded = {name.casefold().strip(): name for name in columns}
        if near := {n: folded[n.casefold()] for n in missing if n.casefold() in folded}:
            renamed = ", ".join(f"{there!r}: {name!r}" for name, there in near.items())
            return f"{message}. Did you mean frame.rename(columns={{{renamed}}})?"
        return f"{message}. Where it is missing from every event: frame[{missing[0]!r}] = None"

    def _check_type(self, name: str, column: Any) -> None:
        """Refuse a column that cannot be meant so; single values are refused row by row."""
        import narwhals as nw  # noqa: PLC0415 - only where there is a frame

        kind = column.dtype
        if kind == nw.Duration:
            raise FrameError(
                f"the column {name} holds durations, which have no unit in an event; give a "
                f'number: frame["{name}"].dt.total_seconds()'
            )
        if name in self._numeric and name not in self._text and name not in self._times:
            if kind == nw.Boolean:
                raise FrameError(
                    f"the column {name} holds true and false, and the configuration reads a "
                    f'number; read it as `boolean`, or give frame["{name}"].astype(int)'
                )
            if kind in (nw.Datetime, nw.Date):
                raise FrameError(
                    f"the column {name} holds times ({kind}), and the configuration reads a "
                    "number; name it in event.time, or convert it"
                )

    def _encoded(self, table: Any, whole: frozenset[str]) -> Values:
        """JSON of each row; ``whole``: columns of floats that are read as whole numbers."""
        columns: list[Sequence[Any]] = []
        bad: dict[int, UnusableValueError] = {}
        for name in table.columns:
            values = table[name].to_list()
            if name in whole:
                values = [
                    int(v) if isinstance(v, float) and not math.isnan(v) else v for v in values
                ]
            columns.append(self._column(name, values, bad))
        made: Values = list(RowEncoder(table.columns, (), ()).encode_json(columns))
        for row, error in bad.items():
            made[row] = error
        return made

    def _column(
        self, name: str, values: list[Any], bad: dict[int, UnusableValueError]
    ) -> Sequence[Any]:
        """JSON of each value; rows that have none go into ``bad``."""
        kinds = set(map(type, values))
        if kinds == {int} or (kinds == {float} and all(map(math.isfinite, values))):
            return values
        if kinds == {bool}:
            return ["true" if value else "false" for value in values]
        if kinds == {str}:
            return list(map(_text_json, values))
        texts = []
        for row, value in enumerate(values):
            try:
                texts.append(self._writer.cell(value, name))
            except UnusableValueError as error:
                texts.append("null")
                bad.setdefault(row, error)
        return texts


class FrameWarning(UserWarning):
    """Something of a frame was read in a way that its owner may not expect."""


def _whole(column: Any) -> bool:
    """Tell whether all floats are whole, and there are some: ids with gaps, out of pandas."""
    numbers = [value for value in column.to_list() if isinstance(value, float)]
    known = [float(number) for number in numbers if not math.isnan(number)]
    return bool(known) and all(
        number.is_integer() and abs(number) <= _LARGEST_WHOLE for number in known
    )


def _text_json(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return encode_basestring_ascii(text)  # decoding refuses it, as it would from a topic
    return encode_basestring(text)


def _kind(frame: object) -> str:
    return f"{type(frame).__module__.split('.')[0]}.{type(frame).__name__}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
