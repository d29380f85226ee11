"""Advantages, losses and KL estimators."""
