"""Fingerprint of what shapes the state, so that a snapshot meets only a configuration it fits.

Left out on purpose: where events come from and results go to, what an alert costs (budget, burn-in,
suppression), limits that only decide which records are bad from now on, and everything that serves
the process. They may change between two runs without the model's experience being lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stream_detector.config.loading.diagnostics import Path, format_path
from stream_detector.config.loading.old_names import NEW_NAMES
from stream_detector.config.models.config import Config, DetectorConfig, Feature, WindowConfig
from stream_detector.detectors.registry import find_detector, identity, read_identity


def state_shape(config: Config) -> dict[str, Any]:
    """The parts of ``config`` that shape state, as JSON values with all defaults filled in."""
    parts = config.model_dump(
        mode="json", include={"features", "windows", "event", "labels", "drift"}
    )
    budget = config.threshold.budget
    processing = config.processing
    # Named only where it is set: states made before there was such a setting fit as they are.
    # Under the name that it had then, too.
    frozen = processing.freeze_after
    first = {} if frozen is None else {"learn_first": frozen}
    answers = [drift for drift in parts["drift"] if drift["answer"] != "none"]
    return {
        "event": {"time": _time_shape(parts["event"]["time"])},
        "features": parts["features"],
        "windows": parts["windows"],
        "detector": identity(config.detector),
        # Other detectors never look at labels; rows wait for them only where they are learnt.
        "labels": _labels_shape(parts["labels"]) if _uses_labels(config) else None,
        **({"drift": answers} if answers else {}),
        **({"monitors": _monitors_shape(config)} if config.monitors else {}),
        "threshold": "score" if budget is None else "share" if budget.share else "rate",
        "processing": {
            "chunk_size": processing.chunk_size,
            "shards": processing.shards,
            **first,
        },
    }


def _labels_shape(labels: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without the format that they come in, as that of the events."""
    if labels is None:
        return None
    told = ("format", "schema_file", "message")
    return {key: value for key, value in labels.items() if key not in told}


_LEFT_OUT = frozenset({"calendars"})
"""What is other from one start to the next by the journal's word."""


def _monitors_shape(config: Config) -> list[dict[str, Any]]:
    """Without what only says which findings are alerted, and what is not set but for the key."""
    return [
        {
            name: value
            for name, value in each.model_dump(
                mode="json", exclude={*_LEFT_OUT, *each.told}
            ).items()
            if value is not None or name == "key"
        }
        for each in config.monitors
    ]


def _time_shape(time: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without what is not set: states made before there were such settings fit as they are."""
    if time is None:
        return None
    return {key: value for key, value in time.items() if value is not None}


def _uses_labels(config: Config) -> bool:
    risk = config.labels is not None and bool(config.labels.risk)
    return risk or find_detector(config.detector.kind).detector.labels != "ignored"


def state_fingerprint(config: Config) -> str:
    """BLAKE2b of the canonical JSON of ``state_shape``, 16 hexadecimal digits."""
    canonical = json.dumps(state_shape(config), sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=8).hexdigest()


def with_defaults(shape: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """``shape``, as an older version may have written it, with settings that are new since.

    A setting that did not exist had, in effect, the value that is its default now: a state from
    before an upgrade fits. What this version cannot read stays as it is; so does a detector that is
    neither one of this package's nor named in ``config``.
    """
    filled = dict(shape)
    stored = shape.get("detector")
    with suppress(ValidationError):
        read = read_identity(stored, models_of(config)).model_dump(mode="json")
        filled["detector"] = {**stored, **read} if isinstance(stored, Mapping) else stored
    for part, reader in _READERS.items():
        try:
            filled[part] = reader.dump_python(reader.validate_python(shape.get(part)), mode="json")
        except ValidationError:
            continue
    return filled


def models_of(config: Config) -> list[DetectorConfig]:
    """The detectors that a configuration names."""
    challenger = config.challenger
    return [config.detector, *([] if challenger is None else [challenger.detector])]


_READERS: Mapping[str, TypeAdapter[Any]] = {
    "features": TypeAdapter(list[Feature]),
    "windows": TypeAdapter(list[WindowConfig]),
}


def state_differences(meta: Mapping[str, Any], config: Config) -> list[str]:
    """Why a state does not fit ``config``, one line each; none where it does.

    Args:
        meta: ``configuration`` and ``shape`` as its snapshot has them.
        config: that is to go on with it.
    """
    if meta["configuration"] == state_fingerprint(config):
        return []
    shape, wanted = with_defaults(meta["shape"], config), state_shape(config)
    if shape == wanted and shape != meta["shape"]:
        return []
    # A fingerprint that does not belong to its own shape: made by another release, or by hand.
    found = describe_difference(shape, wanted) or ["its fingerprint is another one"]
    was = shape["detector"].get("kind") if isinstance(shape.get("detector"), Mapping) else None
    if was != config.detector.kind and "detector" not in config.model_fields_set:
        found.append(
            "the configuration names no detector, and the default was another one then: "
            f"`detector: {{kind: {was}}}` goes on with what was learnt"
        )
    return found


def describe_difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Describe the differences between two results of ``state_shape``, one line for each value.

    >>> describe_difference({"detector": {"seed": 0}}, {"detector": {"seed": 1}})
    ['detector.seed: was 0, is 1']
    """
    return list(_differences(old, new, ()))


_ABSENT = object()


def _differences(old: Any, new: Any, path: Path) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else _ABSENT
            after = new[index] if index < len(new) else _ABSENT
            yield from _differences(before, after, (*path, index))
    elif type(old) is not type(new) or old != new:
        name = format_path((*path[:-1], NEW_NAMES.get(path, path[-1])) if path else path)
        if old is _ABSENT:
            yield f"{name}: is new, {_brief(new)}"
        elif new is _ABSENT:
            yield f"{name}: is gone, was {_brief(old)}"
        else:
            yield f"{name}: was {_brief(old)}, is {_brief(new)}"


def _brief(value: Any) -> str:
    """``value`` as YAML would have it on one line; of a section only what was set."""
    if isinstance(value, dict):
        value = {key: inner for key, inner in value.items() if inner is not None}
    text = json.dumps(value, ensure_ascii=False)
    limit = 200
    return text if len(text) <= limit else text[: limit - 3] + "..."
