"""Schemas from outside: a registry's, or a file's."""
