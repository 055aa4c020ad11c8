"""The source of the Grafana dashboards in ``config/grafana``.

``python -m dashboards`` writes the JSON anew; a test holds that it is what is in version control.
"""
