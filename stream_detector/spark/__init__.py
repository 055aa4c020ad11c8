"""The pipeline in stages on Apache Spark's Structured Streaming.

Nothing here is imported before it is asked for: pyspark is an extra of its own, ``[spark]``.
"""
