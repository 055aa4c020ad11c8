"""What ``spark-submit`` is given: ``spark-submit ... job.py config.yaml --checkpoint DIR``."""

import sys

from stream_detector.__main__ import main

sys.argv[1:1] = ["spark"]
main()
