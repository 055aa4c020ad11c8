"""Incidents of rate planted into real departures: our monitors beside those of others."""
