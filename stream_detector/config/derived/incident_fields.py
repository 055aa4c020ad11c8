"""Fields whose values alerts may share, as incidents compare them."""

from __future__ import annotations

from stream_detector.config.models.config import CategoricalFeatureConfig, Config
from stream_detector.config.models.incidents import MOST_FIELDS


def incident_fields(config: Config) -> tuple[str, ...]:
    """The fields, keys first: what a single alert is about is its first one's value.

    Those of the section `incidents`, or the keys of suppression, windows and monitors, what windows
    count the different values of, and the categorical fields, the first ``MOST_FIELDS`` of them.
    """
    settings = config.incident_settings
    if settings is None:
        return ()
    if settings.fields is not None:
        return tuple(settings.fields)
    named: list[str | None] = []
    if config.suppression is not None:
        named.append(config.suppression.key)
    named += [window.key for window in config.windows]
    named += [monitor.key for monitor in config.monitors]
    named += [
        feature.categorical
        for feature in config.features
        if isinstance(feature, CategoricalFeatureConfig)
    ]
    return tuple(dict.fromkeys(name for name in named if name is not None))[:MOST_FIELDS]


def packed_settings(config: Config) -> str:
    """The settings of incidents with all fields named, as text; empty where there are none.

    Incidents may be others after a restart: journal and state keep what they went by.
    """
    settings = config.incident_settings
    if settings is None:
        return ""
    fields = list(incident_fields(config)) or None
    return settings.model_copy(update={"fields": fields}).model_dump_json()
