"""What exactly once costs at all: poll, copy each hundredth record, commit with the offsets.

    python transactional_loop.py BOOTSTRAP TOPIC ALERTS

Nothing is decoded, scored or kept. A poll that brought nothing to copy is committed with the next
that does, or after a second: as the daemon does.
"""

import signal
import sys
import time

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata

EACH = 100
COMMIT_SECONDS = 1.0


def main(bootstrap, topic, alerts):
    group = f"bare-{alerts}"
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="latest",
        isolation_level="read_committed",
        fetch_max_wait_ms=5,
    )
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=group, acks="all", linger_ms=0
    )
    producer.init_transactions()
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    while not consumer.assignment():
        consumer.poll(timeout_ms=100)
    for partition in consumer.assignment():
        consumer.position(partition)
    print("ready", flush=True)
    seen, committed, offsets = 0, time.monotonic(), {}
    while not stopping:
        copies = []
        for partition, records in consumer.poll(timeout_ms=100).items():
            copies += [record.value for record in records[(-seen) % EACH :: EACH]]
            seen += len(records)
            offsets[partition] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
        if not offsets or not (copies or time.monotonic() - committed > COMMIT_SECONDS):
            continue
        producer.begin_transaction()
        futures = [producer.send(alerts, value) for value in copies]
        producer.flush(timeout=30)
        for future in futures:
            future.get(timeout=30)
        producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
        producer.commit_transaction()
        committed, offsets = time.monotonic(), {}
    producer.close(timeout=5)
    consumer.close(autocommit=False, timeout_ms=5000)


if __name__ == "__main__":
    main(*sys.argv[1:])
