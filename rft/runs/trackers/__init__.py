"""Trackers: where curves, rollouts and tables of a run go besides its folder. One module per library.

A module named as the tracker has a function `open_tracker(run: TrackedRun) -> Tracker`, and imports its library there.
"""
