"""Registry of monitors: class and settings by the ``kind`` that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, TypeAlias, Union

from pydantic import Discriminator

from stream_detector.monitors.base import Monitor, MonitorConfig

_CLASSES = (
    "rate.RateMonitor",
    "level.LevelMonitor",
    "silence.SilenceMonitor",
    "new_values.NewValueMonitor",
    "hours.HoursMonitor",
    "places.PlacesMonitor",
)
"""Module of this package and class, in the order of the reference. The rest is in their files."""


def _built_in() -> dict[str, type[Monitor]]:
    found: dict[str, type[Monitor]] = {}
    for path in _CLASSES:
        module, _, name = path.partition(".")
        monitor: type[Monitor] = getattr(import_module(f"{__package__}.{module}"), name)
        found[str(monitor.Config.model_fields["kind"].default)] = monitor
    return found


BUILT_IN: Mapping[str, type[Monitor]] = _built_in()
"""Monitors of this package by kind."""

_MODELS = tuple(monitor.Config for monitor in BUILT_IN.values())

if TYPE_CHECKING:
    AnyMonitor: TypeAlias = MonitorConfig
else:
    AnyMonitor = Annotated[Union[_MODELS], Discriminator("kind")]  # noqa: UP007 - of a tuple
    """Annotation of a field that takes the settings of any monitor, told by ``kind``."""


def build_monitor(config: MonitorConfig) -> Monitor:
    """The monitor that a configuration asks for, with nothing learnt."""
    return BUILT_IN[config.kind](config)  # type: ignore[call-arg]
