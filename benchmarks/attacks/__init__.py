"""Attacks on what the detector learns, run through the real pipeline, beside River's trees."""
