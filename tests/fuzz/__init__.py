"""Mutated bytes for every reader of foreign bytes: ``python -m fuzz``.

``targets`` has a file for each reader.
"""
