"""A real Apache Kafka broker for tests and benchmarks, and byte-level clients to talk to it."""
