"""Generators of labelled traffic with planted attacks."""
