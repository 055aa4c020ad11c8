"""Anomaly detection on Kafka as tutorials show it: kafka-python, River, a pickled model.

    python benchmarks/plain_loop.py BROKER IN_TOPIC OUT_TOPIC MODEL_FILE

The other side of crash_comparison.py, written as its users write it: offsets are committed by the
client, the model is saved every 1,000 events (beside, then renamed) and loaded at the start.
"""

import json
import math
import pickle
import signal
import sys
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer
from river import anomaly, compose, preprocessing

SAVE_EVERY = 1000
THRESHOLD = 0.985


def load_model(path):
    if path.exists():
        return pickle.loads(path.read_bytes())
    return {
        "seen": 0,
        "model": compose.Pipeline(
            preprocessing.MinMaxScaler(),
            anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=42),
        ),
    }


def save_model(state, path):
    new = path.with_suffix(".new")
    new.write_bytes(pickle.dumps(state))
    new.replace(path)


def main(bootstrap, in_topic, out_topic, model_file):
    path = Path(model_file)
    consumer = KafkaConsumer(
        in_topic,
        bootstrap_servers=bootstrap,
        group_id=f"plain-{out_topic}",
        auto_offset_reset="earliest",
        enable_auto_commit=True,
        session_timeout_ms=3000,
        heartbeat_interval_ms=500,
        value_deserializer=json.loads,
    )
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", value_serializer=lambda v: json.dumps(v).encode()
    )
    state = load_model(path)
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    while not stopping:
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                event = record.value
                x = {"amount": math.log(event["amount"]), "weight": event["weight"]}
                score = state["model"].score_one(x)
                state["model"].learn_one(x)
                state["seen"] += 1
                if state["seen"] > 500 and score > THRESHOLD:
                    producer.send(out_topic, {"event_id": event["id"], "score": score})
                if state["seen"] % SAVE_EVERY == 0:
                    save_model(state, path)
    producer.flush(timeout=30)
    save_model(state, path)
    consumer.close()
    producer.close(timeout=10)


if __name__ == "__main__":
    main(*sys.argv[1:])
