"""The usual loop: kafka-python, scikit-learn's StandardScaler and an MLP, an event at a time."""

import json
import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from kafka import KafkaConsumer, KafkaProducer
from meter import ALERTS, TOPIC, Meter, features
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

THRESHOLD = 10.0


def main():
    meter = Meter()
    scaler = StandardScaler()
    model = MLPRegressor(hidden_layer_sizes=(8,), random_state=0)
    learnt = False
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
        row = np.array([list(features(record.value).values())])
        scaler.partial_fit(row)
        scaled = scaler.transform(row)
        score = float(np.mean((model.predict(scaled) - scaled) ** 2)) if learnt else 0.0
        model.partial_fit(scaled, scaled)
        learnt = True
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
