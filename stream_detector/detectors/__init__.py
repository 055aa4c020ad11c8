"""Models that score events and learn from them: one file and one class each."""
