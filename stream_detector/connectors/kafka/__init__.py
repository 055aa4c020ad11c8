"""Apache Kafka through kafka-python: the only room that imports it."""
