"""The quality of the default detector beside that of its peers, on twelve public streams."""
