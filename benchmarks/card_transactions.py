"""The whole file of card transactions through a real broker with config/transactions.yaml.

Needs the public data (STREAM_DETECTOR_DATA, or ../shared/data beside the repository). Prints the
events, the alerts on the alert topic, throughput, memory, and how many of the alerts are frauds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaProducer
from throughput import LARGE_HEAP, REPOSITORY, Broker, consume_all, create_topic, daemon

from stream_detector.config import load_config
from stream_detector.connectors.files import FileSource, typed_columns


def fill(bootstrap: str, topic: str, path: Path, limit: int | None) -> int:
    """Produce the file's rows as JSON, keyed by customer; returns how many."""
    config = load_config(REPOSITORY / "config" / "transactions.yaml", os.environ)
    numeric, boolean = typed_columns(config)
    source = FileSource(str(path), numeric=numeric, boolean=boolean, limit=limit)
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, batch_size=256 * 1024)
    count = 0
    while not source.exhausted():
        for fetched in source.poll(1.0):
            for record in fetched.records:
                key = str(json.loads(record.value or b"{}")["CUSTOMER_ID"]).encode()
                producer.send(topic, value=record.value, key=key)
                count += 1
            producer.flush(timeout=120)
    producer.close(timeout=10)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    data = Path(os.environ.get("STREAM_DETECTOR_DATA", REPOSITORY.parent / "shared" / "data"))
    path = data / "card_transactions.csv.gz"
    with (
        tempfile.TemporaryDirectory() as name,
        Broker(Path(name) / "broker", java_options=LARGE_HEAP) as broker,
    ):
        keep = {"retention.ms": "-1"}
        topic = create_topic(broker.bootstrap, "transactions", 4, keep)
        for output in ("transactions.alerts", "transactions.dead-letters"):
            create_topic(broker.bootstrap, output, 1, keep)
        count = fill(broker.bootstrap, topic, path, arguments.limit)
        settings = yaml.safe_load((REPOSITORY / "config" / "transactions.yaml").read_text())
        settings["kafka"]["bootstrap_servers"] = broker.bootstrap
        settings["state"] = {"directory": str(Path(name) / "state")}
        settings["metrics"] = {"port": 0}
        result: dict[str, Any] = daemon(settings, Path(name), count)
        alerts = consume_all(broker.bootstrap, "transactions.alerts")
        frauds = [json.loads(alert.value)["event"]["TX_FRAUD"] for alert in alerts]
    result |= {
        "events": count,
        "alerts": len(frauds),
        "alerts_on_fraud": sum(str(label) == "1" for label in frauds),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
