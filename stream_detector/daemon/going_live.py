"""What a shard does where the journal ends: what was followed is over, and live work begins."""

from __future__ import annotations

import logging

from stream_detector.daemon.shard_output import ShardOutput
from stream_detector.log_fields import fields
from stream_detector.pipeline import PipelineCore

log = logging.getLogger(__name__)


def use_own_calendars(
    pipeline: PipelineCore, output: ShardOutput, shard: int, restored: bool
) -> None:
    """Go by the configuration's calendars from now on; the next record of the journal says so.

    What was followed before went by those of then, so that it came out as it did then.
    """
    monitors = pipeline.monitors
    changed = monitors.use_own_calendars()
    if changed or (not restored and monitors.calendars):
        output.calendars = monitors.calendars
    if changed:
        log.info(
            "shard %d goes by other calendars from event %d on",
            shard,
            pipeline.sequence,
            extra=fields("calendars", shard=shard, events=pipeline.sequence),
        )


def say_promoted(shard: int, events: int) -> None:
    """Log that the challenger has taken over."""
    log.info(
        "the challenger of shard %d takes over after %d events",
        shard,
        events,
        extra=fields("promoted", shard=shard, events=events),
    )
