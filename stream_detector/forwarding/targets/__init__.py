"""Targets: a kind, a file, and a line in the registry."""
