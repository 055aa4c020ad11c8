"""What a rival reached: counted from its first thousand events on, printed as JSON."""

import json
import math
import os
import resource
import sys
import time
from datetime import datetime

WARM_UP = 1000  # connecting, importing, the first allocations
TOPIC, ALERTS = "transactions", "rival-alerts"


class Meter:
    """Counts events up to the number given: ``BOOTSTRAP EVENTS [the model's arguments]``."""

    def __init__(self):
        self.bootstrap, self.wanted, *self.arguments = sys.argv[1:]
        self.wanted = int(self.wanted)
        self.seen = 0
        self.group = f"rival-{os.getpid()}"

    def add(self, count=1):
        """Whether these were the last ones."""
        before, self.seen = self.seen, self.seen + count
        if before < WARM_UP <= self.seen:
            self.first, self.begun, self.cpu = self.seen, time.perf_counter(), time.process_time()
        return self.seen >= self.wanted

    def report(self):
        events = self.seen - self.first
        print(
            json.dumps(
                {
                    "events_per_second": events / (time.perf_counter() - self.begun),
                    "cpu_us_per_event": (time.process_time() - self.cpu) / events * 1e6,
                    "rss_mib_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                }
            )
        )


def features(event):
    """What a row holds without any state: the logarithm of the amount, night, weekend."""
    when = datetime.fromisoformat(event["TX_DATETIME"])
    return {
        "amount": math.log1p(event["TX_AMOUNT"]),
        "night": float(when.hour < 6),
        "weekend": float(when.weekday() >= 5),
    }
