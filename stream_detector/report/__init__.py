"""The report of a back-test: one HTML file with charts, without script or outside resource."""
