"""The loop of tutorials around a model: kafka-python, an event at a time."""

import json

from kafka import KafkaConsumer, KafkaProducer
from meter import ALERTS, TOPIC


def run(meter, score_and_learn, threshold):
    consumer = KafkaConsumer(
        TOPIC,
        bootstrap_servers=meter.bootstrap,
        group_id=meter.group,
        auto_offset_reset="earliest",
        value_deserializer=json.loads,
    )
    producer = KafkaProducer(
        bootstrap_servers=meter.bootstrap, value_serializer=lambda v: json.dumps(v).encode()
    )
    for record in consumer:
        score = score_and_learn(record.value)
        if score > threshold:
            producer.send(ALERTS, {"id": record.value["TRANSACTION_ID"], "score": score})
        if meter.add():
            break
    meter.report()
    producer.flush(timeout=30)
    producer.close(timeout=10)
    consumer.close(autocommit=False, timeout_ms=5000)
