"""River's half-space trees as its documentation has them, for whatever brings the events."""

from meter import features
from river import anomaly, compose, preprocessing

THRESHOLD = 0.99


def scorer(trees, height):
    """A function that scores an event, then learns it."""
    model = compose.Pipeline(
        preprocessing.MinMaxScaler(),
        anomaly.HalfSpaceTrees(n_trees=trees, height=height, window_size=250, seed=42),
    )

    def score_and_learn(event):
        x = features(event)
        score = model.score_one(x)
        model.learn_one(x)
        return score

    return score_and_learn
