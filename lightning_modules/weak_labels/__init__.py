"""Separation from weak labels: judges (classifiers of mixtures), separators, and their losses."""
