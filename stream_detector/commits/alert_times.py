"""When the events of alerts were written, read and decided on: how late an alert is, and why.

All times are the wall clock's, in seconds since 1970: a record's own timestamp is one of it.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stream_detector.events import TopicPartition
from stream_detector.messages import Outgoing

_MOST_POLLS = 4096
"""Of a partition, so many are remembered: a replay commits nothing for as long as it takes."""


@dataclass(frozen=True, slots=True)
class AlertTimes:
    """An alert's way up to its decision.

    Attributes:
        recorded: the timestamp of the event's record; None where it has none.
        polled: when the record was read from the broker.
        decided: when the alert was decided on.
    """

    recorded: float | None
    polled: float
    decided: float


class Arrivals:
    """When records were read, as far as what comes of them is not written yet.

    State: of each partition, the offsets that polls ended with, when that was, and before which
    offset nothing is known. As many as there are polls whose events wait or are not committed, and
    of a partition the last few thousand.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock``: seconds since 1970."""
        self._clock = clock
        self._ends: dict[TopicPartition, list[int]] = {}
        self._times: dict[TopicPartition, list[float]] = {}
        self._known_from: dict[TopicPartition, int] = {}

    def polled(self, source: TopicPartition, last: int) -> None:
        """Note that the records of a partition up to the offset ``last`` are there."""
        ends = self._ends.setdefault(source, [])
        if len(ends) >= _MOST_POLLS:
            self._known_from[source] = ends[_MOST_POLLS // 2 - 1] + 1
            self.forget_before({source: self._known_from[source]})
        ends.append(last)
        self._times.setdefault(source, []).append(self._clock())

    def decided(self, alerts: Iterable[Outgoing]) -> list[AlertTimes]:
        """Return the times of alerts that were decided on just now.

        Those of monitors and rules are left out: they are about a time, not about one record.
        """
        now = self._clock()
        found: list[AlertTimes] = []
        for alert in alerts:
            if alert.recorded_ms is None:
                continue
            ends = self._ends.get(alert.source, [])
            place = bisect_right(ends, alert.offset - 1)
            known = alert.offset >= self._known_from.get(alert.source, 0)
            if known and place < len(ends):
                recorded = alert.recorded_ms / 1000 if alert.recorded_ms >= 0 else None
                found.append(AlertTimes(recorded, self._times[alert.source][place], now))
        return found

    def forget_before(self, positions: Mapping[TopicPartition, int]) -> None:
        """Forget the polls all of whose records lie before these offsets."""
        for source, position in positions.items():
            ends = self._ends.get(source, [])
            gone = bisect_right(ends, position - 1)
            del ends[:gone]
            del self._times.get(source, [])[:gone]


def stages(times: Sequence[AlertTimes], begun: float, committed: float) -> dict[str, list[float]]:
    """Return how long each stage of alerts' ways took, in seconds.

    ``arrival`` (from written to read: producer, broker, poll), ``decision`` (to decided: merge,
    features, score), ``wait`` (for its commit), ``commit`` (until ``read_committed`` sees it), and
    ``all``.
    Clocks of two machines may differ: less than nothing counts as nothing.

    Args:
        times: of the alerts of a commit.
        begun: when the commit was tried first.
        committed: when it was there.
    """
    written = [one for one in times if one.recorded is not None]
    arrival = [one.polled - (one.recorded or 0.0) for one in written]
    spent = {
        "arrival": arrival,
        "decision": [one.decided - one.polled for one in times],
        "wait": [begun - one.decided for one in times],
        "commit": [committed - begun] * len(times),
        "all": [committed - (one.recorded or 0.0) for one in written],
    }
    return {stage: [max(0.0, value) for value in values] for stage, values in spent.items()}
