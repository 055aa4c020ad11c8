"""Snapshots of a state that has no place in any input: trained on history, or kept by a caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_detector.config import Config, state_fingerprint, state_shape
from stream_detector.lanes import lanes_state
from stream_detector.pipeline import PipelineCore
from stream_detector.snapshots.format import Snapshot


def snapshot_of(
    pipeline: PipelineCore, config: Config, shard: int, extra: Mapping[str, Any]
) -> Snapshot:
    """The state as it is now, as the snapshot that a shard would write before its first record.

    Args:
        pipeline: whose state it is.
        config: that it was made with.
        shard: number of the shard that may go on with it.
        extra: what stands beside; ``written_at``, seconds since 1970, must be there.
    """
    meta = {
        "name": config.name,
        "shard": shard,
        "sequence": pipeline.sequence,
        "positions": [],
        "topics": {},
        "configuration": state_fingerprint(config),
        "shape": state_shape(config),
        "fingerprint": pipeline.fingerprint,
        **extra,
    }
    return Snapshot(meta, {**pipeline.state(), "lanes": lanes_state([])})
