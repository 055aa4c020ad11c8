"""What would have made an event ordinary, as a sentence, for whoever shows alerts.

What is read is an alert's body, which may have come from others: texts in it are as they were,
and whoever shows the sentence escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_CHANGES = 16  # ours has three


def ordinary_sentence(ordinary: Mapping[str, Any]) -> str:
    """Say what would have been ordinary.

    >>> ordinary_sentence({"changes": [{"feature": "TX_AMOUNT", "at_most": 131.0}], "score": 4.9})
    'TX_AMOUNT at or below 131 would be normal'
    >>> ordinary_sentence({"changes": [
    ...     {"feature": "service", "equals": "http"},
    ...     {"feature": "count", "at_least": 1.0, "at_most": 40.0},
    ...     {"feature": "logged_in", "equals": True}], "score": 1.0})
    'service http, count from 1 to 40 and logged_in true would be normal'

    Raises ``LookupError``, ``TypeError``, ``ValueError`` or ``AttributeError`` where it is none.
    """
    parts = [_change(change) for change in ordinary["changes"][:_MOST_CHANGES]]
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"{listed} would be normal"


def _change(change: Mapping[str, Any]) -> str:
    feature = str(change["feature"])
    least, most = change.get("at_least"), change.get("at_most")
    if least is not None and most is not None:
        return f"{feature} from {_plain(least)} to {_plain(most)}"
    if most is not None:
        return f"{feature} at or below {_plain(most)}"
    if least is not None:
        return f"{feature} at or above {_plain(least)}"
    return f"{feature} {_plain(change['equals'])}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.17g}" if isinstance(value, float) and value.is_integer() else str(value)
