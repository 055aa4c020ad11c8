"""Commits that are written once, whoever runs the pipeline: slices of work, transactions, journal.

The daemon and its like make the work; here it is written, and after a doubt found out about.
"""
