"""From bytes to columns."""

from stream_detector.decoding.decoder import LARGEST_NUMBER, REASONS, Decoder
from stream_detector.decoding.label_decoder import LabelDecoder
from stream_detector.decoding.label_values import read_label
from stream_detector.decoding.times import LATEST_TIME_MS, read_time
from stream_detector.decoding.topic_decoder import TopicDecoder

__all__ = [
    "LARGEST_NUMBER",
    "LATEST_TIME_MS",
    "REASONS",
    "Decoder",
    "LabelDecoder",
    "TopicDecoder",
    "read_label",
    "read_time",
]
