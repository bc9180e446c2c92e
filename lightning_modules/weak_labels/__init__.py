"""Separation from weak labels: classifiers of mixtures, separators, and their losses."""
