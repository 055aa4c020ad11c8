"""Messages where a shard begins elsewhere than at the offset that its group has committed.

Without a journal the state alone says what was learnt: a shard goes on there whatever the committed
offsets are, and they say only from where on alerts are new.
"""

from __future__ import annotations

import logging

from stream_detector.errors import PlacesDifferError
from stream_detector.events import TopicPartition
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

SECTION = "see docs/runbook.md#offsets-that-do-not-fit"


def compare(
    source: TopicPartition,
    state: int | None,
    committed: int | None,
    log_bounds: tuple[int, int],
    metrics: Metrics,
) -> None:
    """Say where a shard without a journal begins in a partition, and why it is not elsewhere.

    Args:
        source: the partition.
        state: where the restored state stands; None where it does not know the partition.
        committed: the group's offset; None where there is none.
        log_bounds: the first offset that the log holds, and its end.
        metrics: counts offsets that were set back.

    Raises:
        PlacesDifferError: the group's offset is beyond the log: nothing would be said until then.
    """
    beginning, end = log_bounds
    if committed is not None and committed > end:
        raise PlacesDifferError(
            f"{source}: the group's offset is {committed}, the log ends at {end}, and up to there "
            "no alert would be written. Set the offset back with kafka-consumer-groups "
            f"--reset-offsets, use another kafka.group, or --reset-state; {SECTION}"
        )
    if state is None or state == committed:
        return
    values = fields("offsets-differ", stage="open", partition=str(source))
    if committed is None:
        if beginning < state < end:
            log.warning(
                "%s: the group has no committed offset (expired, deleted, or none yet). It goes on "
                "at %d, where the state stands; what was alerted of later events is alerted again; "
                "%s",
                source,
                state,
                SECTION,
                extra=values,
            )
    elif committed < state:
        metrics.add_broker_error("offsets_reset")
        log.warning(
            "%s: the group's offset is %d (was it reset by hand?), and the state has learnt up to "
            "%d: it goes on at %d, since every event before would be learnt twice. To begin at %d, "
            "stop, set the offset again, and start once with --reset-state; %s",
            source,
            committed,
            state,
            state,
            committed,
            SECTION,
            extra=values,
        )
    else:
        log.info(
            "%s: the state stands at offset %d, the group at %d: what lies between is read and "
            "learnt without alerts, which were written before (offsets set forward by hand: never)",
            source,
            state,
            committed,
            extra=fields("silent-until", partition=str(source)),
        )
