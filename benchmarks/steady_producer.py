"""Produce lines of a file at a steady rate, each with its moment of sending: for latency.py.

    python steady_producer.py BOOTSTRAP TOPIC PARTITIONS RATE SECONDS FILE

With confluent-kafka, run by the rivals' environment: kafka-python's producer would take a core of
the two for itself at 30,000 events a second. A line is ``key<TAB>{"field": …}``.
"""

import itertools
import sys
import time
import zlib
from pathlib import Path

from confluent_kafka import Producer

TICK_SECONDS = 0.002


def main():
    bootstrap, topic, partitions, rate, seconds, file = sys.argv[1:]
    partitions, rate, seconds = int(partitions), int(rate), float(seconds)
    with Path(file).open("rb") as lines:
        pairs = [line.rstrip(b"\n").split(b"\t", 1) for line in lines]
    events = itertools.cycle(
        [(zlib.crc32(key) % partitions, key, value[1:]) for key, value in pairs]
    )
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "acks": "1"})
    begun, sent = time.monotonic(), 0
    while (since := time.monotonic() - begun) < seconds:
        stamp = b'{"SENT":%.6f,' % time.time()
        for partition, key, rest in itertools.islice(events, max(0, int(rate * since) - sent)):
            producer.produce(topic, value=stamp + rest, key=key, partition=partition)
            sent += 1
        producer.poll(0)
        time.sleep(TICK_SECONDS)
    producer.flush(60)
    print(sent)


if __name__ == "__main__":
    main()
