"""The source of the Grafana dashboards in ``config/grafana``.

``python -m dashboards`` writes the JSON anew; a test holds that it is what is in version control.
``python -m dashboards.picture`` draws the panels from the answers of a Prometheus.
"""
