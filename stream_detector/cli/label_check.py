"""A label that is misspelt, or whose words say nothing: found out and said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from stream_detector.config.loading.diagnostics import quoted, suggestion
from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Source
from stream_detector.decoding.label_values import read_label
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.events import Float64
from stream_detector.inference.profiles import flatten

LOOKED_AT = 5000
"""First records in which the label is looked for."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LabelLook:
    """Labels in the first records of a file.

    Attributes:
        fields: names of all their fields.
        is_table: whether they are the columns of a table, so that there are no others.
        values: how often each value of the label occurs, as text; missing ones left out.
        unread: those of ``values`` that are neither anomalous nor normal.
    """

    fields: tuple[str, ...]
    is_table: bool
    values: Counter[str]
    unread: tuple[str, ...]


def look_at_label(config: Config, path: str, source: Source) -> LabelLook | None:
    """Look at the label in what ``source`` has of the file ``path``; None for a pipe, or no label.

    The source is read to its end and closed.
    """
    labels = config.labels
    if labels is None or labels.field is None or not Path(path).is_file():
        return None
    fields: dict[str, None] = {}
    values: Counter[str] = Counter()
    unread: dict[str, None] = {}
    try:
        while not source.exhausted():
            for fetched in source.poll(1.0):
                for record in fetched.records:
                    event = _event(record.value)
                    fields.update(dict.fromkeys(event))
                    value = event.get(labels.field)
                    if value is None or value == "":
                        continue
                    values[str(value)] += 1
                    if np.isnan(read_label(value, labels)):
                        unread[str(value)] = None
    except ConnectorError:  # whoever reads all of it says so
        return None
    finally:
        source.close()
    columns = getattr(source, "columns", None)
    names = tuple(columns) if columns else tuple(fields)
    return LabelLook(names, columns is not None, values, tuple(unread))


def refuse_absent(look: LabelLook | None, label: str | None) -> None:
    """Raise ``ConfigurationError`` where a table has no column of the name that was given."""
    if look is not None and label is not None and look.is_table and label not in look.fields:
        raise ConfigurationError(_absent(label, look))


def refuse_unlabelled(look: LabelLook | None, label: str | None, labels: Float64) -> None:
    """Raise ``ConfigurationError`` where a label was given and no event turned out to have one.

    Args:
        look: what the first records hold.
        label: what was given on the command line; None: nothing.
        labels: (events,) 1, 0 or NaN, of the whole file.
    """
    if label is None or not len(labels) or not np.isnan(labels).all():
        return
    if look is None or label not in look.fields:
        raise ConfigurationError(_absent(label, look))
    if not look.unread:
        raise ConfigurationError(f"--label {label}: it is missing in every event that was used")
    raise ConfigurationError(f"--label {label}: {_unread(look)}")


def unread_note(look: LabelLook | None, config: Config) -> str:
    """Return what to tell of labels that say nothing; "" where all do."""
    if look is None or not look.unread or config.labels is None:
        return ""
    return f"{config.labels.field}: {_unread(look)}; events with other values have no label"


def _absent(label: str, look: LabelLook | None) -> str:
    fields = look.fields if look is not None else ()
    names = ", ".join(quoted(name) for name in fields[:20])
    more = f" and {len(fields) - 20} more" if len(fields) > 20 else ""  # noqa: PLR2004 - as many as fit
    meant = suggestion(label, fields)
    shown = f"{'' if meant else ';'} there are {names}{more}" if names else ""
    return f"--label {label}: no event has such a field{meant}{shown}"


def _unread(look: LabelLook) -> str:
    words = ", ".join(quoted(value) for value in look.unread[:_SHOWN])
    return (
        f"its values {words} are neither anomalous nor normal by themselves; set `positive` or "
        "`negative` in the section `labels`"
    )


def _event(value: bytes | None) -> dict[str, object]:
    try:
        event = msgspec.json.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return dict(flatten(event)) if isinstance(event, dict) else {}
