"""Score dicts as they come, look at what is unusual, and go on tomorrow with what was learnt.

Run it twice: ``python examples/score_events.py state.bin``
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stream_detector import Pipeline

CONFIG = {
    "name": "logins",
    "event": {"id": "id"},
    "features": [
        {"numeric": "duration", "transform": "log"},
        {"categorical": "country", "size": 8},
    ],
    "threshold": {"budget": "0.2 %", "burn_in": 1000},
}


def events(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Logins; now and then one takes far longer than any other."""
    rng = random.Random(seed)
    for number in range(count):
        strange = rng.random() < 0.002
        yield {
            "id": f"{seed}-{number}",
            "duration": rng.lognormvariate(8 if strange else 2, 0.5),
            "country": rng.choice("AAAAABBBC"),
        }


def main(path: Path) -> None:
    """Process a day's events and keep the state in ``path``."""
    known = path.read_bytes() if path.exists() else None
    pipeline = Pipeline.from_bytes(CONFIG, known) if known is not None else Pipeline(CONFIG)
    result = pipeline.process(events(5000, seed=pipeline.events_scored))
    print(result)
    for alert in result.alerts:
        reason = alert["reasons"][0]
        print(alert["event_id"], alert["severity"], reason["feature"], reason["value"])
    path.write_bytes(pipeline.to_bytes())
    print(pipeline)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "state.bin"))
