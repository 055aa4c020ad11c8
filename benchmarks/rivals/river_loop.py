"""The usual loop: kafka-python and River, an event at a time. Arguments: trees, height."""

import json

from kafka import KafkaConsumer, KafkaProducer
from meter import ALERTS, TOPIC, Meter, features
from river import anomaly, compose, preprocessing

THRESHOLD = 0.99


def main():
    meter = Meter()
    trees, height = map(int, meter.arguments)
    model = compose.Pipeline(
        preprocessing.MinMaxScaler(),
        anomaly.HalfSpaceTrees(n_trees=trees, height=height, window_size=250, seed=42),
    )
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
        x = features(record.value)
        score = model.score_one(x)
        model.learn_one(x)
        if score > THRESHOLD:
            producer.send(ALERTS, {"id": record.value["TRANSACTION_ID"], "score": score})
        if meter.add():
            break
    meter.report()
    producer.flush(timeout=30)
    producer.close(timeout=10)
    consumer.close(autocommit=False, timeout_ms=5000)


if __name__ == "__main__":
    main()
