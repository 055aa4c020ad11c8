"""The daemon: what ``run`` and ``demo`` run."""
