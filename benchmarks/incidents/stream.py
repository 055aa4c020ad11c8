"""Streams run through the pipeline; what comes of it on the topic of incidents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stream_detector.config import FieldPlan, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.decoding import Decoder
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.pipeline import PipelineCore

POLL = 2048
SOURCE = TopicPartition("events", 0)


def incidents(configuration: dict[str, Any], lines: Sequence[bytes]) -> list[Mapping[str, Any]]:
    """The messages of incidents, in order: what the daemon would write of the same lines."""
    config = parse(json.dumps(configuration), "incidents", {}).config
    decoder, core = (
        Decoder(config, FieldPlan.of(config)),
        PipelineCore(config, state_fingerprint(config)),
    )
    found: list[Mapping[str, Any]] = []
    for first in range(0, len(lines), POLL):
        records = [
            PlainRecord(first + at, -1, None, line)
            for at, line in enumerate(lines[first : first + POLL])
        ]
        found += core.process(decoder.decode(SOURCE, records)).incident_bodies
    return found
