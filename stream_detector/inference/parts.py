"""What a sample suggests: the parts of a configuration, with comments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stream_detector.inference.labels import LabelGuess
from stream_detector.inference.monitors import MonitorProposal
from stream_detector.inference.profiles import Profile
from stream_detector.inference.times import TimeChoice

Entry = tuple[dict[str, Any], str]
"""A piece of configuration and the comment beside it."""


@dataclass(slots=True)
class Proposal:
    """Proposal that a sample suggests: the parts of a configuration, with comments.

    Attributes:
        event: the section of this name.
        features: those of fields that vary, then those of fields that never did.
        windows: one for each key.
        labels: the section of this name.
        suppression: the section of this name.
        left_out: fields that are no features, each with the reason.
        warnings: what a person should know, or decide.
        label: what the label's values were taken for.
        time: what the time was made of.
        profiles: what every field looked like.
        varying: how many of the features are of fields that vary.
        monitors: what could be watched in buckets of time, and why not.
    """

    event: dict[str, Any] = field(default_factory=dict)
    features: list[Entry] = field(default_factory=list)
    windows: list[Entry] = field(default_factory=list)
    labels: dict[str, Any] | None = None
    suppression: dict[str, Any] | None = None
    left_out: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    label: LabelGuess | None = None
    time: TimeChoice | None = None
    profiles: dict[str, Profile] = field(default_factory=dict)
    varying: int = 0
    monitors: MonitorProposal = field(default_factory=MonitorProposal)
