"""Recordings of a person's own: the command, and the sources as files."""
