"""What a shard does where the journal ends: what was followed is over, and live work begins."""

from __future__ import annotations

import logging

from stream_detector.daemon.shard_output import ShardOutput
from stream_detector.log_fields import fields
from stream_detector.pipeline import PipelineCore

log = logging.getLogger(__name__)


class OwnSettings:
    """Puts the configuration's calendars and incidents in use, at the first work after a replay.

    What is followed goes by those of then, so that it comes out as it did then. The next record of
    the journal says what is in use from there on. A snapshot before that work holds what the
    journal knows of, and one after it waits for the commit that says so: so no state goes by what
    a replay of the journal alone would not go by.

    State: whether they are still to be put in use.
    """

    def __init__(self, output: ShardOutput, shard: int) -> None:
        """``output``: the shard's, which writes its journal."""
        self._output, self._shard = output, shard
        self._waiting = False

    def begin(self, pipeline: PipelineCore, *, restored: bool) -> None:
        """Begin with a state: a new one goes by none until the journal says otherwise."""
        self._waiting = True
        if not restored:
            pipeline.monitors.use_calendars("")
            pipeline.decisions.incidents.use("")

    def use(self, pipeline: PipelineCore) -> None:
        """Work is about to be done: go by them, once."""
        if not self._waiting:
            return
        self._waiting = False
        if pipeline.decisions.incidents.use_own():
            self._output.incidents = pipeline.decisions.incidents.settings
        monitors = pipeline.monitors
        if monitors.use_own_calendars():
            self._output.calendars = monitors.calendars
            if pipeline.sequence:
                log.info(
                    "shard %d goes by other calendars from event %d on",
                    self._shard,
                    pipeline.sequence,
                    extra=fields("calendars", shard=self._shard, events=pipeline.sequence),
                )


def say_promoted(shard: int, events: int) -> None:
    """Log that the challenger has taken over."""
    log.info(
        "the challenger of shard %d takes over after %d events",
        shard,
        events,
        extra=fields("promoted", shard=shard, events=events),
    )
