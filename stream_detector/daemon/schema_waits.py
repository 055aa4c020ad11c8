"""What waits for a schema, as people are told of it."""

from __future__ import annotations

import time
from collections.abc import Collection

from stream_detector.daemon.shard import Shard
from stream_detector.telemetry.conditions import Conditions
from stream_detector.telemetry.logs import fields


def wait_for_schemas(shards: Collection[Shard], conditions: Conditions) -> None:
    """Take in records whose schemas are there by now, and say of the others what they wait for.

    A replay asks for nothing: all that it needs was kept. Raises ``ConnectorError`` where a wait
    is over and stops the daemon.
    """
    now = time.monotonic()
    waiting = []
    for shard in shards:
        if shard.replaying:
            continue
        for wait in shard.input.ask_for_schemas(now):
            waiting.append(wait.source)
            if not wait.why:
                continue
            conditions.report(
                "schema_missing",
                wait.source,
                f"{wait.source} waits at offset {wait.offset} for the schema {wait.key}: "
                f"{wait.why}; see docs/runbook.md#a-schema-cannot-be-had",
                extra=fields("schema-missing", stage="decode", partition=str(wait.source)),
            )
    conditions.keep("schema_missing", waiting)
