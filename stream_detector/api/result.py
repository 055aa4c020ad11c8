"""Results of the pipeline: scores, alerts with their reasons, what was no event."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.api.records import Values
from stream_detector.api.values import UnusableValueError
from stream_detector.events import Float64, Rejection
from stream_detector.markup import Markup, escape_lines, tag
from stream_detector.messages import Outgoing
from stream_detector.rejections import Remedies
from stream_detector.report.alert_text import alert_lines
from stream_detector.visible import visible

_SHOWN = 5
_ANOTHER = "another value, or leave the field out"
_INSTEAD = {
    "bool": "a number: int(value), or read the field as `boolean`",
}
"""What to give in the place of a type, where that is a mistake of Python more than of the data."""


class RejectedEventsWarning(UserWarning):
    """Events were rejected: they have no score and nothing was learnt from them."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that was rejected.

    Attributes:
        row: which of the events given, from 0.
        reason: one of the reasons that dead letters carry.
        field: the field that was looked at, where it is one.
        message: what is wrong.
        remedy: what to give, set or do, so that such events are taken.
    """

    row: int
    reason: str
    field: str | None
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"event {self.row}: {self.message} ({self.reason}; give or set: {self.remedy})"


@dataclass(eq=False)
class Result:
    """Result of one call for its events, in their order.

    Iterating and indexing give records, as ``records`` does.

    Attributes:
        scores: (events,) float64, given before the event was learnt; NaN for rejected events.
        raised: (events,) bool, above the threshold of that moment, held back or not.
        rejected: the events that were rejected, and why.
        suppressed: how many raised events are no alert, since their key had alerted lately.
        drifts: how many drifts were found.
        messages: the alerts as the daemon would write them, byte for byte.
    """

    scores: Float64
    raised: NDArray[np.bool_]
    rejected: list[Rejected] = field(default_factory=list)
    suppressed: int = 0
    drifts: int = 0
    messages: list[Outgoing] = field(default_factory=list)
    first_offset: int = 0

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def alerts(self) -> list[dict[str, Any]]:
        """The alerts, each as docs/alerts.md describes it, with ``row``, its event's number here.

        Reasons stand in ``reasons``, the feature that contributed most first.
        """
        return [
            {"row": message.offset - self.first_offset, **msgspec.json.decode(message.value or b"")}
            for message in self.messages
        ]

    def records(self) -> list[dict[str, Any]]:
        """Return a dict an event: ``row``, ``score``, ``raised``, ``alert`` and so on.

        ``score`` is None where the event was rejected, and ``rejected`` says why then; ``alert`` is
        None where there is none.
        """
        return list(self)

    def to_dict(self) -> dict[str, list[Any]]:
        """The records as columns, without the whole alerts: for ``DataFrame(result.to_dict())``.

        Columns are ``score``, ``raised``, ``severity``, ``rarity``, ``reason`` (the feature that
        contributed most) and ``rejected``.
        """
        columns: dict[str, list[Any]] = {
            name: [] for name in ("score", "raised", "severity", "rarity", "reason", "rejected")
        }
        for record in self:
            alert, reasons = record["alert"] or {}, record["reasons"]
            columns["score"].append(record["score"])
            columns["raised"].append(record["raised"])
            columns["severity"].append(alert.get("severity"))
            columns["rarity"].append(alert.get("rarity"))
            columns["reason"].append(reasons[0]["feature"] if reasons else None)
            columns["rejected"].append(record["rejected"])
        return columns

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not isinstance(row, int | np.integer):
            raise TypeError(
                f"a row is a number from 0, not {type(row).__name__}; records() can be sliced"
            )
        row = range(len(self))[row]
        score, alert = float(self.scores[row]), self._alert_of.get(row)
        return {
            "row": row,
            "score": None if math.isnan(score) else score,
            "raised": bool(self.raised[row]),
            "alert": alert,
            "reasons": alert["reasons"] if alert is not None else [],
            "rejected": self._rejection_of.get(row),
        }

    @cached_property
    def _alert_of(self) -> dict[int, dict[str, Any]]:
        # A monitor's alert is about many events, not about the one with which it came.
        return {alert["row"]: alert for alert in self.alerts if "monitor" not in alert}

    @cached_property
    def _rejection_of(self) -> dict[int, str]:
        return {each.row: str(each) for each in self.rejected}

    def __repr__(self) -> str:
        return "\n".join([self._counted(), *self._alert_texts(), *self._rejected_texts()])

    def _repr_html_(self) -> Markup:
        """For notebooks; text of events is escaped."""
        texts = [*self._alert_texts(), *self._rejected_texts()]
        lines = tag("pre", escape_lines("\n".join(texts))) if texts else None
        return tag("div", tag("strong", self._counted()), lines)

    def _counted(self) -> str:
        scored = int(np.count_nonzero(~np.isnan(self.scores)))
        counts = [
            f"{len(self):,} events",
            f"{scored:,} scored",
            f"{int(self.raised.sum()):,} raised",
            f"{len(self.messages):,} alerts",
        ]
        if self.suppressed:
            counts.append(f"{self.suppressed:,} held back")
        if self.drifts:
            counts.append(f"{self.drifts:,} drifts")
        if self.rejected:
            counts.append(f"{len(self.rejected):,} rejected")
        return ", ".join(counts)

    def _alert_texts(self) -> list[str]:
        """The rarest alerts with their reasons."""
        return rarest(self.alerts)

    def _rejected_texts(self) -> list[str]:
        return shortened([visible(f"rejected {each}") for each in self.rejected], "rejected")


def rejected_of(
    first_row: int, values: Values, found: Sequence[Rejection | None], remedies: Remedies
) -> list[Rejected]:
    """The rejected rows of a batch.

    Args:
        first_row: number of its first event.
        values: what was given, as JSON or as the reason why it is none.
        found: (events,) what the pipeline has rejected.
        remedies: under the configuration.
    """
    return [
        _rejected(first_row + row, value, each, remedies)
        for row, (value, each) in enumerate(zip(values, found, strict=True))
        if each is not None
    ]


def _rejected(row: int, value: object, found: Rejection, remedies: Remedies) -> Rejected:
    if isinstance(value, UnusableValueError):
        return Rejected(row, "wrong_type", value.field or None, str(value), _ANOTHER)
    remedy = remedies.of(found.reason, found.field)
    for given, instead in _INSTEAD.items():
        if found.reason == "wrong_type" and f"got `{given}`" in found.message:
            remedy = f"{instead}; or {remedy}"
    return Rejected(row, found.reason, found.field, found.message, remedy)


def rarest(alerts: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of text on the rarest alerts, the rarest first."""
    order = sorted(alerts, key=lambda alert: -float(alert["rarity"]))
    lines = [line for alert in order[:_SHOWN] for line in alert_lines(alert)]
    if len(alerts) > _SHOWN:
        lines.append(f"... the rarest {_SHOWN} of {len(alerts):,} alerts")
    return lines


def shortened(lines: list[str], what: str) -> list[str]:
    """The first lines, and how many there are where that is not all."""
    if len(lines) <= _SHOWN:
        return lines
    return [*lines[:_SHOWN], f"... the first {_SHOWN} of {len(lines):,} {what}"]


def warning_of(rejected: Sequence[Rejected], events: int) -> str:
    """Return one sentence on rejected events, with the first of them."""
    return (
        f"{len(rejected):,} of {events:,} events were rejected, the first: {rejected[0]}. They "
        "have no score (NaN), and nothing was learnt from them; result.rejected has them all"
    )
