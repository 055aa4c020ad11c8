"""Metrics, health and logs. The only package that imports prometheus_client.

Nothing is re-exported here, so that a command which only logs does not import a metrics library.
"""
