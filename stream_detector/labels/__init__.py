"""Labels that come late: what waits for them, and which rows are worth the wait."""

from stream_detector.labels.delay_queue import DelayQueue
from stream_detector.labels.feedback import Feedback
from stream_detector.labels.gate import Gate
from stream_detector.labels.identity import identities
from stream_detector.labels.scored_events import ScoredEvents
from stream_detector.labels.waiting_rows import WaitingRows

__all__ = ["DelayQueue", "Feedback", "Gate", "ScoredEvents", "WaitingRows", "identities"]
