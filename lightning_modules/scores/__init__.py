"""Rows of scores and what they say: pure functions, from files to tables and figures."""
