"""Labels that come late: what waits for them, and which rows are worth the wait."""

from stream_detector.labels.feedback import Feedback
from stream_detector.labels.gate import Gate
from stream_detector.labels.identity import identities
from stream_detector.labels.rows import WaitingRows
from stream_detector.labels.waiting import DelayQueue

__all__ = ["DelayQueue", "Feedback", "Gate", "WaitingRows", "identities"]
