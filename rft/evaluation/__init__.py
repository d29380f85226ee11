"""Metrics on held-out rows, with intervals, beside blind answers and published figures."""
