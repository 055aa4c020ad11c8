"""The targets: every module here has a ``TARGET``, and is found by its name."""
