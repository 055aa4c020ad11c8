"""From columns of an event to numbers: transforms, categories, times and windows by key."""

from stream_detector.features.calendar import Calendar
from stream_detector.features.columns import FeatureGroup
from stream_detector.features.extractor import FeatureExtractor

__all__ = ["Calendar", "FeatureExtractor", "FeatureGroup"]
