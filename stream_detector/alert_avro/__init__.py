"""Alerts as Avro: their schema, and what writes and reads them by it."""
