"""Step 3 of the loop: what is committed may be kept."""

from __future__ import annotations

import logging
import time

from stream_detector.daemon.ownership import Owned, Parts
from stream_detector.errors import ConnectorError, StateError
from stream_detector.snapshots import encode
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


def write_snapshot(owned: Owned, parts: Parts, metrics: Metrics) -> None:
    """Keep what is committed. A failure is said and counted, not fatal."""
    shard, ledger = owned.shard, owned.ledger
    owned.last_snapshot = time.monotonic()
    if shard.dirty or shard.script or ledger.pending:
        return  # this state is not committed (yet)
    place = None
    if parts.journal is not None:
        place = {"offset": ledger.offset, "number": ledger.number}
    with metrics.stage("snapshot"):
        try:
            data = encode(shard.snapshot({"written_at": time.time(), "journal": place}))
            parts.store(shard.number).write(shard.pipeline.sequence, data)
        except (StateError, ConnectorError) as error:
            values = fields("snapshot-failed", stage="snapshot", shard=shard.number)
            log.error("%s", error, extra=values)  # noqa: TRY400 - the message says it all
            metrics.add_snapshot("failed")
            return
    metrics.add_snapshot("ok")
    metrics.set_newest_snapshot(shard.number, time.time(), len(data))
