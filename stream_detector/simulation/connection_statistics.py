"""The statistics over recent connections that a KDD'99 record carries, for a whole batch at once.

Definitions: Stolfo, Fan, Lee, Prodromidis, Chan, "Cost-based modeling for fraud and intrusion
detection" (2000), tables 3 and 4: ``count`` and its kin look back two seconds, the ``dst_host_``
ones over the last connections (255 here, the largest value in the public data).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Float64, Int64

LOOK_BACK_MS = 2000
LOOK_BACK_CONNECTIONS = 255

STATISTICS = (
    *("count", "srv_count", "serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate"),
    *("same_srv_rate", "diff_srv_rate", "srv_diff_host_rate"),
    *("dst_host_count", "dst_host_srv_count", "dst_host_same_srv_rate", "dst_host_diff_srv_rate"),
    *("dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate", "dst_host_serror_rate"),
    *("dst_host_srv_serror_rate", "dst_host_rerror_rate", "dst_host_srv_rerror_rate"),
)
"""The fields that ``connection_statistics`` computes, in the order of KDD Cup 1999."""


class _Groups:
    """Rows that share a group, and for each row how far back in its group a window reaches."""

    def __init__(self, group: Int64, moment: Int64, reach: int) -> None:
        """``moment`` never decreases; the window of a row is [moment - reach, the row itself]."""
        self._order = np.argsort(group, kind="stable")
        sorted_group, sorted_moment = group[self._order], moment[self._order]
        # One key that sorts by group, then by moment, with room for the reach between groups.
        low = int(moment.min())
        width = int(moment.max()) - low + reach + 1
        dense = np.cumsum(np.diff(sorted_group, prepend=sorted_group[:1]) != 0)
        keys = dense * width + (sorted_moment - low) + reach
        self._first = np.searchsorted(keys, keys - reach)
        self._place = np.arange(len(group))

    def count(self) -> Int64:
        """Rows of the group in the window, the row itself among them."""
        return self._unsort(self._place - self._first + 1)

    def count_of(self, flag: NDArray[np.bool_]) -> Int64:
        """Those of them that have the flag."""
        total = np.concatenate([[0], np.cumsum(flag[self._order])])
        return self._unsort(total[self._place + 1] - total[self._first])

    def _unsort(self, values: Int64) -> Int64:
        result = np.empty(len(values), dtype=np.int64)
        result[self._order] = values
        return result


def connection_statistics(
    time_ms: Int64,
    source: Int64,
    destination: Int64,
    service: Int64,
    serror: NDArray[np.bool_],
    rerror: NDArray[np.bool_],
) -> dict[str, Int64]:
    """Counts and rates of connections in the order of their time.

    Args:
        time_ms: milliseconds, never decreasing.
        source: number of the host that connects.
        destination: number of the host connected to.
        service: number of the service.
        serror: whether the connection ended in a SYN error.
        rerror: whether it was rejected.

    Returns:
        The ``STATISTICS`` by name; rates in hundredths.
    """
    host_service = destination * 1024 + service
    recent_host = _Groups(destination, time_ms, LOOK_BACK_MS)
    recent_service = _Groups(service, time_ms, LOOK_BACK_MS)
    recent_both = _Groups(host_service, time_ms, LOOK_BACK_MS).count()
    count, srv_count = recent_host.count(), recent_service.count()
    place = np.arange(len(time_ms), dtype=np.int64)
    reach = LOOK_BACK_CONNECTIONS - 1
    last_host = _Groups(destination, place, reach)
    last_both = _Groups(host_service, place, reach)
    last_source = _Groups(destination * 2**32 + source, place, reach).count()
    last_all = _Groups(host_service * 2**32 + source, place, reach).count()
    host_count, host_srv_count = last_host.count(), last_both.count()
    same_srv = _rate(recent_both, count)
    host_same_srv = _rate(host_srv_count, host_count)
    return {
        "count": count,
        "srv_count": srv_count,
        "serror_rate": _rate(recent_host.count_of(serror), count),
        "srv_serror_rate": _rate(recent_service.count_of(serror), srv_count),
        "rerror_rate": _rate(recent_host.count_of(rerror), count),
        "srv_rerror_rate": _rate(recent_service.count_of(rerror), srv_count),
        "same_srv_rate": same_srv,
        "diff_srv_rate": 100 - same_srv,
        "srv_diff_host_rate": 100 - _rate(recent_both, srv_count),
        "dst_host_count": host_count,
        "dst_host_srv_count": host_srv_count,
        "dst_host_same_srv_rate": host_same_srv,
        "dst_host_diff_srv_rate": 100 - host_same_srv,
        "dst_host_same_src_port_rate": _rate(last_source, host_count),
        "dst_host_srv_diff_host_rate": 100 - _rate(last_all, host_srv_count),
        "dst_host_serror_rate": _rate(last_host.count_of(serror), host_count),
        "dst_host_srv_serror_rate": _rate(last_both.count_of(serror), host_srv_count),
        "dst_host_rerror_rate": _rate(last_host.count_of(rerror), host_count),
        "dst_host_srv_rerror_rate": _rate(last_both.count_of(rerror), host_srv_count),
    }


def _rate(part: Int64, whole: Int64) -> Int64:
    share: Float64 = np.rint(100 * part / whole)
    return share.astype(np.int64)
