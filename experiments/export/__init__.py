"""Trained models as files that travel, and what these say of themselves."""
