"""The words for a label that a person may use, and what is written for them."""

from __future__ import annotations

from stream_detector.config.models.config import LabelsConfig
from stream_detector.decoding.label_values import read_label
from stream_detector.errors import ConfigurationError

FRAUD, NORMAL = "fraud", "normal"


def label_words(labels: LabelsConfig) -> tuple[str, ...]:
    """Words to offer, those for an anomaly first.

    Where the configuration names the values of one side only, the other one has ``normal`` or
    ``fraud``, unless that word is taken.
    """
    if labels.positive is not None:
        return (*labels.positive, _free(NORMAL, labels.positive))
    if labels.negative is not None:
        return (_free(FRAUD, labels.negative), *labels.negative)
    return (FRAUD, NORMAL)


def label_for(word: str, labels: LabelsConfig) -> str:
    """Return what to write for ``word``: itself, or the data's word for ``fraud`` and ``normal``.

    Raises ``ConfigurationError`` for any other, also where the daemon would read it as "not among
    those that are listed": a typo would teach the opposite.
    """
    words = label_words(labels)
    if word in words:
        return word
    unlisted = labels.positive is None and labels.negative is None
    meant = read_label(word, labels) if unlisted else {FRAUD: 1.0, NORMAL: 0.0}.get(word)
    if meant == 1.0:
        return words[0] if not unlisted else FRAUD
    if meant == 0.0:
        return words[-1] if not unlisted else NORMAL
    raise ConfigurationError(f"{word!r} is no label: say {' or '.join(words)}")


def _free(word: str, taken: list[str]) -> str:
    return word if word not in taken else f"not {taken[0]}"
