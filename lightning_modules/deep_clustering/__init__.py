"""Separation by deep clustering, its confidence, and the selection among several models."""
