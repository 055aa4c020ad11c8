"""config/transactions.yaml on the card transactions, labels seven days late: days 98 to the end.

    python benchmarks/card_quality.py [--config FILE] [--seed 0] [--from 98] [--to 127]

Prints average precision, precision of each day's top 100 transactions and of its top 100 cards, the
speed of the pipeline with the reading of the file, and the most rows that waited for labels as a
share of those of seven days. A card counts as found if any of its transactions of the day is fraud,
and has the highest of its scores (card precision at 100, Fraud Detection Handbook).

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from quality.data import data_directory
from sklearn.metrics import average_precision_score, roc_auc_score

from stream_detector.config import load_config
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.connectors.files import FileSource, typed_columns
from stream_detector.evaluation.backtest import batches
from stream_detector.pipeline import PipelineCore

DAY_MS = 86_400_000
TOP = 100
CONFIG = Path(__file__).resolve().parents[1] / "config" / "transactions.yaml"


def precision_of_cards(scores: np.ndarray, labels: np.ndarray, cards: np.ndarray) -> float:
    """Share of frauds among the cards of one day with the highest scores."""
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(cards[order], return_index=True)
    best = cards[order][np.sort(first)[:TOP]]
    return float(np.isin(best, np.unique(cards[labels > 0])).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default=str(CONFIG))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", type=int, default=98, dest="first", help="first day that counts")
    parser.add_argument("--to", type=int, default=10_000, dest="last", help="last day that counts")
    parser.add_argument("--data")
    arguments = parser.parse_args()
    config = load_config(arguments.config, os.environ)
    detector = config.detector.model_copy(update={"seed": arguments.seed})
    config = config.model_copy(update={"detector": detector})
    numeric, boolean = typed_columns(config)
    path = data_directory(arguments.data) / "card_transactions.csv.gz"
    source = FileSource(str(path), numeric=numeric, boolean=boolean)
    pipeline = PipelineCore(config, state_fingerprint(config))
    card = FieldPlan.of(config).text.index("CUSTOMER_ID")
    columns: list[tuple[np.ndarray, ...]] = []
    begin = time.perf_counter()
    for batch, outcome in batches(config, source, pipeline):
        columns.append((outcome.scores, batch.label, batch.time_ms, batch.text[card].astype(str)))
    seconds = time.perf_counter() - begin
    scores, labels, times, cards = (np.concatenate(each) for each in zip(*columns, strict=True))
    days = times // DAY_MS - times[0] // DAY_MS
    counted = (days >= arguments.first) & (days <= arguments.last)
    top, top_cards = [], []
    for day in np.unique(days[counted]):
        rows = np.flatnonzero(days == day)
        best = rows[np.argsort(-scores[rows], kind="stable")[:TOP]]
        top.append(labels[best].mean())
        top_cards.append(precision_of_cards(scores[rows], labels[rows], cards[rows]))
    a_week = len(scores) / len(np.unique(days)) * 7
    result = {
        "seed": arguments.seed,
        "average_precision": float(average_precision_score(labels[counted], scores[counted])),
        "roc_auc": float(roc_auc_score(labels[counted], scores[counted])),
        "precision_at_100_per_day": float(np.mean(top)),
        "card_precision_at_100_per_day": float(np.mean(top_cards)),
        "events_per_second": round(len(scores) / seconds),
        "waiting_share_of_a_week": pipeline.labels.most_waiting / a_week
        if pipeline.labels.pending
        else 0,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
