"""JSON lines in, alerts out, one at a time: what a service would do with each request.

Try it: ``stream-detector simulate transactions | python examples/filter_lines.py``

A label that becomes known later is given by the id of its event: ``pipeline.label({"17": 1})``.
"""

import json
import sys
import warnings
from collections.abc import Iterable

from stream_detector import Pipeline, RejectedEventsWarning

CONFIG = {
    "name": "payments",
    "event": {"id": "TRANSACTION_ID", "time": {"field": "TX_DATETIME"}},
    "features": [{"numeric": "TX_AMOUNT", "transform": "log"}, {"time": "night"}],
    "windows": [
        {
            "key": "CUSTOMER_ID",
            "value": "TX_AMOUNT",
            "half_lives": ["1d", "7d"],
            "compute": ["count", "deviation"],
        }
    ],
    "threshold": {"budget": "0.3 %", "burn_in": 5000},
}


def alerts(lines: Iterable[str]) -> Iterable[dict[str, object]]:
    """The alerts among JSON lines; a line that is no event is said, and the next one read."""
    pipeline = Pipeline(CONFIG)
    for line in lines:
        result = pipeline.process([line])
        for rejected in result.rejected:
            print(f"left out: {rejected}", file=sys.stderr)
        yield from result.alerts


if __name__ == "__main__":
    warnings.simplefilter("ignore", RejectedEventsWarning)  # said above
    for alert in alerts(sys.stdin):
        print(json.dumps({name: alert[name] for name in ("id", "severity", "rarity", "reasons")}))
