"""Quix Streams, exactly once, with River's half-space trees: each hundredth event is passed on.

    python quix_transactional.py BOOTSTRAP TOPIC ALERTS

Every event is scored and learnt; what is passed on is chosen by count, so that it is as many as
the others pass on. Commits every 50 ms, where the default of five seconds would be its latency.
"""

import itertools
import sys

from quixstreams import Application
from river_model import scorer

EACH = 100
COMMIT_SECONDS = 0.05


def main(bootstrap, topic, alerts):
    score_and_learn = scorer(10, 8)
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{alerts}",
        auto_offset_reset="latest",
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_SECONDS,
        loglevel="ERROR",
    )
    count = itertools.count()

    def score(event):
        score_and_learn(event)
        return event if next(count) % EACH == 0 else None

    events = app.dataframe(app.topic(topic, value_deserializer="json"))
    found = events.apply(score).filter(lambda event: event is not None)
    found.to_topic(app.topic(alerts, value_serializer="json"))
    print("ready", flush=True)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
