"""Quix Streams with River, as its documentation writes it. Arguments: trees, height."""

from meter import ALERTS, TOPIC, Meter
from quixstreams import Application
from river_model import THRESHOLD, scorer


def main():
    meter = Meter()
    score_and_learn = scorer(*map(int, meter.arguments))
    app = Application(
        broker_address=meter.bootstrap,
        consumer_group=meter.group,
        auto_offset_reset="earliest",
        loglevel="ERROR",
    )

    def score(event):
        value = score_and_learn(event)
        if meter.add():
            meter.report()
            app.stop()
        return {"id": event["TRANSACTION_ID"], "score": value}

    events = app.dataframe(app.topic(TOPIC, value_deserializer="json"))
    alerts = events.apply(score).filter(lambda alert: alert["score"] > THRESHOLD)
    alerts.to_topic(app.topic(ALERTS, value_serializer="json"))
    app.run()


if __name__ == "__main__":
    main()
