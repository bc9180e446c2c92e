"""Recordings of any length: windows that share statistics and clusters, at any rate and number of channels."""
