"""Delivery of alerts and incidents to where people are: webhooks, Alertmanager, Slack, files."""
