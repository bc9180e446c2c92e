"""Fit, validate, test and predict: the command, its ranks, and how a run is followed."""
