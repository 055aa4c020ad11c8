"""The usual loop: kafka-python, scikit-learn's StandardScaler and an MLP, an event at a time."""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import kafka_loop
import numpy as np
from meter import Meter, features
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

THRESHOLD = 10.0


def main():
    meter = Meter()
    scaler = StandardScaler()
    model = MLPRegressor(hidden_layer_sizes=(8,), random_state=0)
    learnt = False

    def score_and_learn(event):
        nonlocal learnt
        row = np.array([list(features(event).values())])
        scaler.partial_fit(row)
        scaled = scaler.transform(row)
        score = float(np.mean((model.predict(scaled) - scaled) ** 2)) if learnt else 0.0
        model.partial_fit(scaled, scaled)
        learnt = True
        return score

    kafka_loop.run(meter, score_and_learn, THRESHOLD)


if __name__ == "__main__":
    main()
