"""confluent-kafka's ``consume`` and nothing else, for the record."""

from confluent_kafka import Consumer
from meter import TOPIC, Meter


def main():
    meter = Meter()
    consumer = Consumer(
        {
            "bootstrap.servers": meter.bootstrap,
            "group.id": meter.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([TOPIC])
    while not meter.add(sum(m.error() is None for m in consumer.consume(5000, timeout=0.1))):
        pass
    meter.report()
    consumer.close()


if __name__ == "__main__":
    main()
