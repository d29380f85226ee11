"""Scoring: completions of a step -> rewards, advantages and train groups."""
