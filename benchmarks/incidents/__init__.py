"""Incidents planted into real streams: what is named first, and how often each is told."""
