"""Durations, sizes and budgets as people write them: ``7d``, ``256 KiB``, ``100 per day``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, PlainSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
LONGEST_DURATION = 10_000 * SECONDS_PER_UNIT["w"]
"""192 years: beyond every time that an event may carry, and exact in milliseconds as int64."""

# At most 12 digits before the point: what is read stays finite and exact.
_LARGEST_COUNT = 10**12
_NUMBER = r"\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*"
_DURATION = re.compile(_NUMBER + r"(ms|s|m|h|d|w)\s*")
_SHARE = re.compile(_NUMBER + r"%\s*")
_PER = re.compile(_NUMBER + r"(?:per|/)\s*(minute|hour|day|week)\s*")
_SIZE = re.compile(_NUMBER + r"(B|KiB|MiB|GiB|kB|MB|GB)\s*")
LARGEST_PERCENTAGE = 50
"""A budget beyond half of the events is no search for anomalies."""
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_PERIODS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0}


def parse_duration(value: Any) -> float:
    """Seconds out of ``'30s'``, ``'1.5h'``, ``'7d'``. Raises ValueError on anything else.

    A bare number is refused: nobody can tell seconds from milliseconds by looking at it.
    """
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        seconds = float(match[1]) * SECONDS_PER_UNIT[match[2]]
        if seconds > LONGEST_DURATION:
            raise ValueError("a duration is at most 10,000 weeks")
        return seconds
    raise ValueError("a duration is a number and a unit: 500ms, 30s, 15m, 2h, 7d or 4w")


def format_duration(seconds: float) -> str:
    """The shortest form that ``parse_duration`` reads back exactly: 86400.0 -> ``1d``."""
    for unit in ("w", "d", "h", "m", "s", "ms"):
        count = round(seconds / SECONDS_PER_UNIT[unit])
        if 1 <= count < _LARGEST_COUNT and count * SECONDS_PER_UNIT[unit] == seconds:
            return f"{count}{unit}"
    return f"{Decimal(repr(seconds)):f}s"


def parse_size(value: Any) -> int:
    """Bytes out of ``'256 KiB'``. Raises ValueError on anything else."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(float(match[1]) * _BYTES[match[2]])
    raise ValueError("a size is a number and a unit: 4096 B, 256 KiB, 1 MiB or 1 GB")


_DurationText = Annotated[
    str, Field(examples=["30s", "15m", "7d"], pattern=rf"^{_DURATION.pattern}$")
]
_SizeText = Annotated[str, Field(examples=["256 KiB", "1 MiB"], pattern=rf"^{_SIZE.pattern}$")]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=_DurationText),
    PlainSerializer(format_duration, return_type=str),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size, json_schema_input_type=_SizeText),
    PlainSerializer(lambda size_bytes: f"{size_bytes} B", return_type=str),
]


@dataclass(frozen=True, slots=True)
class Budget:
    """Wanted number of alerts: a share of the events, or a number in a period of event time.

    Exactly one of ``share`` (0 to 1) and ``per_second`` is not None.
    """

    share: float | None
    per_second: float | None
    text: str

    @classmethod
    def parse(cls, value: Any) -> Budget:
        """Read ``'0.1 %'`` or ``'100 per day'``. Raises ValueError on anything else."""
        if isinstance(value, Budget):
            return value
        text = value if isinstance(value, str) else repr(value)
        if (match := _SHARE.fullmatch(text)) and 0 < float(match[1]) <= LARGEST_PERCENTAGE:
            return cls(float(match[1]) / 100, None, text.strip())
        if (match := _PER.fullmatch(text)) and float(match[1]) > 0:
            return cls(None, float(match[1]) / _PERIODS[match[2]], text.strip())
        raise ValueError("a budget is a share of the events or a rate: 0.1 % or 100 per day")

    def share_of(self, events: float, seconds: float) -> float | None:
        """The budget as a share (0 to .5) of so many events in so much time; None without any."""
        if self.per_second is None:
            return self.share
        if events <= 0 or seconds <= 0:
            return None
        return min(self.per_second * seconds / events, 0.5)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        pattern = rf"^(?:{_SHARE.pattern}|{_PER.pattern})$"
        return {"type": "string", "examples": ["0.1 %", "100 per day"], "pattern": pattern}

    def __str__(self) -> str:
        return self.text
