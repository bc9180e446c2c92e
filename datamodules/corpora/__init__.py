"""Readers of corpora, one for each: which clips there are, and their samples."""
