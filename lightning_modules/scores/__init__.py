"""Rows of scores and what they say: pure functions, from files to tables and figures."""

# In files and rows beside the classes: what the sources of all classes leave of a mixture.
RESIDUAL = "residual"
