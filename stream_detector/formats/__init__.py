"""Formats of events beside JSON: Avro and Protobuf, read by schemas into JSON's values."""
