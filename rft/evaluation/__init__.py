"""Metrics on held-out rows, with intervals, baselines and published results."""
