"""The sections `processing`, `state` and `logging`: how a process runs and where its state lies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stream_detector.config.models.base import MANY_EVENTS, Model, PathName, Topic, human
from stream_detector.units import Duration


class StateStoreConfig(Model):
    """Store of the snapshots."""

    store: Literal["directory", "topic"] = Field(
        "directory", description="Keep snapshots as files, or on a compacted topic."
    )
    directory: PathName = Field("state", description="Directory, shared by the workers of a group.")
    topic: Topic | None = Field(
        None,
        description="Topic for `store: topic`; made where it is missing. Default: the group's name "
        "and `-snapshots`.",
    )
    interval: Duration = Field(human("60s"), description="Time between two snapshots.")
    keep: int = Field(3, ge=1, le=1000, description="Snapshots kept a shard.")
    signing_key_file: PathName | None = Field(
        None,
        description="A file of keys (mode 0600), one a line of at least 32 characters: the first "
        "signs snapshots, and none is read without a signature by one of them.",
    )


class ProcessingConfig(Model):
    """Sizes and intervals of the loop."""

    shards: int = Field(
        1, ge=1, le=1024, description="Independent pipelines; see docs for what it costs."
    )
    chunk_size: Literal[64, 128, 256, 512, 1024, 2048] = Field(
        512, description="Events learnt at a time, once 2,048 have been seen (32 before)."
    )
    freeze_after: int | None = Field(
        None,
        ge=1,
        le=MANY_EVENTS,
        description="Events after which scaler and detector learn no more without labels, for a "
        "clean history (`train --normal-only`) before a stream where anomalies may be the crowd. "
        "Default: they always learn.",
    )
    max_poll_records: int = Field(
        5000, ge=1, le=1_000_000, description="Records taken from the client at once."
    )
    max_buffered_records: int = Field(
        20_000,
        ge=1,
        le=10_000_000,
        description="Records of a partition held back by the merge before it pauses.",
    )
    stuck_partition_wait: Duration = Field(
        human("1s"), description="How long the merge waits for a partition stuck below its end."
    )
    leaderless_wait: Duration = Field(
        human("30s"),
        description="How long the merge waits for a partition without a leader; then the others "
        "go on without it.",
    )
    commit_interval: Duration = Field(human("1s"), description="Longest time between commits.")
    tick: Duration = Field(
        human("30s"),
        ge=0.01,
        le=3600,
        description="Where nothing arrives, how often monitors are told at most that time goes on: "
        "so soon the silence of a whole topic is seen.",
    )
    counterfactuals: bool = Field(
        True,
        description="Whether alerts say what would have made the event ordinary (`ordinary`), "
        "which takes two scorings of 32 rows an alert as a rule.",
    )
    shutdown_timeout: Duration = Field(
        human("30s"), description="Limit for a graceful stop after SIGTERM."
    )


class LoggingConfig(Model):
    """Log on standard error."""

    format: Literal["text", "json"] = Field("text", description="Readable lines or ECS JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level.")
