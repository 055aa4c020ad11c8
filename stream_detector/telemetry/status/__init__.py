"""The status page: what runs, how it is, and the last alerts with their reasons.

The live view of the terminal shows the same ``Recent`` and the same ``Figures``.
"""
