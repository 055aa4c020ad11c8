"""Settings that have a new name: the old one is read as before, and whoever asks is told."""

from __future__ import annotations

from collections.abc import Mapping

from stream_detector.config.loading.diagnostics import Path, format_path
from stream_detector.config.loading.document import Document

NEW_NAMES: Mapping[Path, str] = {("processing", "learn_first"): "freeze_after"}
"""By the path with the old name, the new one in the same section."""


def read_old_names(document: Document) -> list[str]:
    """Give settings their new names in ``document``; a line for each old one that it has.

    A setting under both names is a mistake, which is reported there.
    """
    notes: list[str] = []
    for old, name in NEW_NAMES.items():
        section = document.get(*old[:-1])
        if not isinstance(section, dict) or old[-1] not in section:
            continue
        new = (*old[:-1], name)
        if name in section:
            message = f"is the old name of {name}: give one of them"
            document.report(old, f"{old[-1]} {message}", key=old)
            del section[old[-1]]
            continue
        section[name] = section.pop(old[-1])
        for places in (document.places, document.keys):
            for path in [p for p in places if p[: len(old)] == old]:
                places[new + path[len(old) :]] = places.pop(path)
        document.unknown = {
            new + path[len(old) :] if path[: len(old)] == old else path for path in document.unknown
        }
        line = document.keys.get(new, document.place(new)).line
        where = f" (line {line})" if line is not None else ""
        notes.append(
            f"{format_path(old)}{where} is called {format_path(new)} now; the old name is read too"
        )
    return notes
