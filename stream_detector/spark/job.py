"""The streaming query: Kafka, the stages, and a call for each batch."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyspark
from py4j.protocol import Py4JError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from stream_detector.config.models.config import Config, KafkaConfig, MetricsConfig
from stream_detector.errors import StateError, StreamDetectorError
from stream_detector.pipeline import BatchResult
from stream_detector.spark.batches import Batches
from stream_detector.spark.security import REDACTED, reader_options
from stream_detector.spark.stages import RESULTS, ROWS, Buckets, Order, decoding, scoring
from stream_detector.telemetry.logs import fields

log = logging.getLogger(__name__)

KAFKA_JAR = f"org.apache.spark:spark-sql-kafka-0-10_2.13:{pyspark.__version__}"
"""Spark's reader of Kafka, of the version of pyspark that is installed."""

_POLL_SECONDS = 0.2
_ARROW_ROWS = 50_000
_LONGEST_BATCH_SECONDS = 600.0

_ATTEMPTS = 5
"""So often in a row a query may fail without a batch done. A worker has ten seconds to begin, which
Spark lets nobody set: on a busy machine it comes too late."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the job is cut into, and how often it works.

    Attributes:
        checkpoint: directory of Spark's checkpoint, on any file system that Spark has.
        buckets: of the keys of each field; belongs to the state.
        parts: a batch is scored in so many at most.
        tasks: of each shuffle; belongs to the state, and bounds the cores that are of use.
        events: of a batch at most.
        trigger_seconds: from the begin of a batch to that of the next, at least.
    """

    checkpoint: str
    buckets: int = 64
    parts: int = 16
    tasks: int = 4
    events: int = 10_000
    trigger_seconds: float = 1.0


def session(config: Config, sizes: Sizes, jars: str | None, master: str | None) -> SparkSession:
    """Begin a session, or take spark-submit's.

    Args:
        config: names it.
        sizes: of the job.
        jars: paths, separated by commas, in the place of a package that Spark fetches.
        master: as Spark's; None: spark-submit's, or all cores of this machine.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    store = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    settings = {
        "spark.sql.shuffle.partitions": sizes.tasks,
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.streaming.stateStore.providerClass": store,
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": _ARROW_ROWS,
        "spark.python.daemon.module": "stream_detector.spark.workers",
        "spark.ui.showConsoleProgress": "false",
        "spark.redaction.regex": REDACTED,
        "spark.sql.redaction.options.regex": f"{REDACTED}|url",
        # A going back takes the model's state as well, of which so many are kept.
        "spark.sql.streaming.minBatchesToRetain": config.state.keep,
    }
    if jars:
        settings["spark.jars"] = jars
    elif "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit has its own
        settings["spark.jars.packages"] = KAFKA_JAR
    builder = SparkSession.builder.appName(f"stream-detector {config.name}")
    if master or "PYSPARK_GATEWAY_PORT" not in os.environ:
        # A worker that dies costs its task another attempt, not the job.
        builder = builder.master(master or "local[*,4]")
    for name, value in settings.items():
        builder = builder.config(name, str(value))
    return builder.getOrCreate()


def ended(spark: SparkSession) -> None:
    """End a session, even one whose virtual machine is gone."""
    with contextlib.suppress(Py4JError, OSError):
        spark.stop()


def events_of(spark: SparkSession, kafka: KafkaConfig, sizes: Sizes) -> DataFrame:
    """Records of the input topics, at most so many a batch, as committed transactions left them."""
    options = {
        "kafka.bootstrap.servers": kafka.bootstrap_servers,
        "subscribe": ",".join(kafka.topics),
        "startingOffsets": kafka.start,
        "maxOffsetsPerTrigger": sizes.events,
        "kafka.isolation.level": "read_committed",
        "includeHeaders": "true",
        # What retention has deleted unread stops the job, as it stops the daemon.
        "failOnDataLoss": "true",
        "groupIdPrefix": f"{kafka.group}-spark",
        **reader_options(kafka.security),
    }
    stamp = f.unix_millis("timestamp").alias("stamp")
    columns = ("key", "value", "topic", "partition", "offset", "headers")
    read = spark.readStream.format("kafka").options(**options).load()
    return read.select(*columns, stamp)


def for_executors(config: Config) -> Config:
    """The configuration without passwords, and what else is of no use to executors."""
    nothing = dict.fromkeys(("kafka", "registry", "forward"))
    return config.model_copy(update={**nothing, "metrics": MetricsConfig()})


def parts_of(events: DataFrame, config: Config, sizes: Sizes) -> DataFrame:
    """Everything up to the features: rows of parts, of halves of them, and one of the batch.

    ``config``: that of ``for_executors``.
    """
    fields: dict[str, Any] = {"outputMode": "append", "timeMode": "None"}
    return (
        events.mapInPandas(decoding(config), ROWS)
        .groupBy("kind", "number")
        .transformWithStateInPandas(Order(config, sizes.buckets, sizes.parts), ROWS, **fields)
        .groupBy("kind", "number")
        .transformWithStateInPandas(Buckets(config), ROWS, **fields)
    )


class Job:
    """Runs a query until it is stopped or fails. State: the first error of a batch."""

    def __init__(
        self,
        config: Config,
        kafka: KafkaConfig,
        sizes: Sizes,
        batches: Batches,
        seen: Callable[[int, BatchResult], None],
    ) -> None:
        """``seen``: told of each batch that was taken."""
        self._config, self._kafka, self._sizes = for_executors(config), kafka, sizes
        self._batches, self._seen = batches, seen
        self._query = threading.Event()
        self._id = ""
        self._error: StreamDetectorError | None = None
        self._lock, self._stopping, self._idle = threading.Lock(), False, threading.Event()
        self._idle.set()

    def run(self, spark: SparkSession, stopping: Callable[[], bool]) -> None:
        """Run until ``stopping``, which is asked now and then.

        Raises the ``StreamDetectorError`` of a batch, ``StateError`` where Spark itself fails.
        """
        try:
            self._run(spark, stopping)
        except (Py4JError, OSError) as error:
            raise StateError(f"Spark's virtual machine does not answer: {error!s:.500}") from error

    def _run(self, spark: SparkSession, stopping: Callable[[], bool]) -> None:
        parts = parts_of(events_of(spark, self._kafka, self._sizes), self._config, self._sizes)
        writer = (
            parts.writeStream.outputMode("append")
            .option("checkpointLocation", self._sizes.checkpoint)
            .trigger(processingTime=f"{self._sizes.trigger_seconds} seconds")
            .foreachBatch(self._take)
        )
        attempts = 0
        while not stopping():
            done, self._batches.opened = self._batches.done, False
            failure = self._until_ended(writer.start(), stopping)
            if self._error is not None:
                raise self._error
            attempts = 1 if self._batches.done > done else attempts + 1
            if failure and attempts >= _ATTEMPTS:
                raise StateError(f"Spark has ended the query {attempts} times: {failure:.2000}")
            if failure:
                values = fields("query-failed", stage="poll", attempt=attempts)
                log.warning("the query ended and begins again: %.300s", failure, extra=values)

    def _until_ended(self, query: Any, stopping: Callable[[], bool]) -> str:
        """Wait until a query has failed, and why, or is to stop (empty)."""
        self._id = str(query.id)
        self._query.set()
        while query.isActive and not stopping():
            threading.Event().wait(_POLL_SECONDS)
        if stopping():
            with self._lock:
                self._stopping = True
            self._idle.wait(_LONGEST_BATCH_SECONDS)  # a batch under way is finished
        failure = query.exception()
        query.stop()
        return "" if failure is None or stopping() else str(failure)

    def _take(self, rows: DataFrame, number: int) -> None:
        """Called by Spark's own thread, for one batch after the other."""
        self._query.wait(_LONGEST_BATCH_SECONDS)
        with self._lock:
            if self._stopping:
                raise RuntimeError("the job stops")
            self._idle.clear()
        try:
            if not self._batches.opened:
                self._batches.open(self._id)
            outcome = self._batches.take(number, partial(self._scored, rows))
        except StreamDetectorError as error:
            self._error = error
            raise
        else:
            if outcome is not None:
                self._seen(number, outcome)
        finally:
            self._idle.set()

    def _scored(self, rows: DataFrame, version: bytes) -> Sequence[tuple[int, bytes]]:
        broadcast = rows.sparkSession.sparkContext.broadcast(version)
        score = scoring(self._config, broadcast)
        scored = rows.groupBy("number").applyInPandas(score, RESULTS).collect()
        broadcast.unpersist()
        return [(int(row["number"]), bytes(row["data"])) for row in scored]
