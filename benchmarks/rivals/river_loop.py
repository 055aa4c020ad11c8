"""The usual loop: kafka-python and River, an event at a time. Arguments: trees, height."""

import kafka_loop
from meter import Meter
from river_model import THRESHOLD, scorer


def main():
    meter = Meter()
    kafka_loop.run(meter, scorer(*map(int, meter.arguments)), THRESHOLD)


if __name__ == "__main__":
    main()
