"""Several brokers that are one cluster: what is written lies on all of them, and leaders move."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self

from kafka import TopicPartition

from kafka_broker.broker import Broker, new_cluster_id
from kafka_broker.clients import admin_client

PREFERRED = 0
"""Kind of an election: the first replica leads again."""

SPREAD_SECONDS = 3.0
IN_SYNC_SECONDS = 20.0

SHARED = {
    # A stop hands its leaders over first, as an operator's does.
    "controlled.shutdown.enable": True,
    # Patient enough for machines that are busy with something else: nobody is away by mistake.
    "broker.session.timeout.ms": 4000,
    "replica.fetch.wait.max.ms": 100,
}


class Cluster:
    """Brokers of one cluster, each broker and controller, with every topic on all of them.

    What was acknowledged by all in sync lies on at least two of three. A cluster of one is what a
    single broker is.

    Args:
        directory: each broker gets one of its own in it.
        size: number of brokers.
    """

    def __init__(self, directory: Path, size: int = 3) -> None:
        cluster_id = new_cluster_id()
        self.brokers = [
            Broker(directory / f"broker{number}", cluster_id=cluster_id)
            for number in range(1, size + 1)
        ]
        voters = ",".join(f"{n}@{b.controller}" for n, b in enumerate(self.brokers, 1))
        for number, broker in enumerate(self.brokers, 1):
            broker.properties |= {
                "node.id": number,
                "controller.quorum.voters": voters,
                "default.replication.factor": size,
                "offsets.topic.replication.factor": size,
                "transaction.state.log.replication.factor": size,
                "min.insync.replicas": size // 2 + 1,
                "transaction.state.log.min.isr": size // 2 + 1,
                **SHARED,
            }

    @property
    def bootstrap(self) -> str:
        """Addresses of all for ``bootstrap_servers``."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start(self) -> Self:
        """Start whoever does not run, and wait until all serve. Raises ``BrokerError``."""
        for broker in self.brokers:
            if not broker.running:
                broker.launch()
        for broker in self.brokers:
            broker.wait_started()
        return self

    def stop(self) -> None:
        """Kill all: nothing of them is read any more, and the last of a quorum stops slowly."""
        self.each(Broker.kill)

    def each(self, act: Callable[[Broker], None]) -> None:
        """Do the same to all of them."""
        for broker in self.brokers:
            act(broker)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- leaders ---

    def leaders(self) -> dict[TopicPartition, int]:
        """Who leads each partition, -1 where nobody does. Raises ``KafkaError``."""
        return {source: each["leader_id"] for source, each in self._partitions().items()}

    def move_leaders(self, chosen: Callable[[TopicPartition], bool]) -> int:
        """Let the next replica lead each partition that is chosen.

        The replicas stay where they are and change their order; then the first one is elected,
        once all have caught up with what they missed while they were away.

        Returns:
            Partitions that have another leader now.

        Raises:
            KafkaError: the controller did not answer, or refused.
        """
        found = self._partitions()
        turned = {
            source: [*each["replica_nodes"][1:], each["replica_nodes"][0]]
            for source, each in found.items()
            if len(each["replica_nodes"]) > 1 and chosen(source)
        }
        self._wait_in_sync(turned)
        before = self.leaders()
        with admin_client(self.bootstrap) as admin:
            admin.alter_partition_reassignments(turned, timeout_ms=10_000)
            # One that is elected already is no error.
            admin.elect_leaders(PREFERRED, timeout_ms=10_000, raise_errors=False)
        # Who is asked may not have heard of it yet.
        deadline = time.monotonic() + SPREAD_SECONDS
        while True:
            after = self.leaders()
            moved = sum(after.get(source, leader) != leader for source, leader in before.items())
            if moved >= len(turned) or time.monotonic() > deadline:
                return moved
            time.sleep(0.2)

    def _wait_in_sync(self, sources: Collection[TopicPartition]) -> None:
        deadline = time.monotonic() + IN_SYNC_SECONDS
        while time.monotonic() < deadline:
            found = self._partitions()
            if all(len(found[s]["isr_nodes"]) == len(found[s]["replica_nodes"]) for s in sources):
                return
            time.sleep(0.2)

    def _partitions(self) -> dict[TopicPartition, dict[str, Any]]:
        with admin_client(self.bootstrap) as admin:
            topics: list[dict[str, Any]] = admin.describe_topics()
        return {
            TopicPartition(topic["name"], each["partition_index"]): each
            for topic in topics
            for each in topic["partitions"]
        }
