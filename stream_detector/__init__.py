"""Online anomaly detection on event streams: Kafka in, explained alerts out."""

__version__ = "0.2.0"
