"""Quix Streams with River, as its documentation writes it. Arguments: trees, height."""

from meter import ALERTS, TOPIC, Meter, features
from quixstreams import Application
from river import anomaly, compose, preprocessing

THRESHOLD = 0.99


def main():
    meter = Meter()
    trees, height = map(int, meter.arguments)
    model = compose.Pipeline(
        preprocessing.MinMaxScaler(),
        anomaly.HalfSpaceTrees(n_trees=trees, height=height, window_size=250, seed=42),
    )
    app = Application(
        broker_address=meter.bootstrap,
        consumer_group=meter.group,
        auto_offset_reset="earliest",
        loglevel="ERROR",
    )

    def score(event):
        x = features(event)
        value = model.score_one(x)
        model.learn_one(x)
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
