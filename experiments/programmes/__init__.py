"""`separatrix programmes`: a selection within recordings of alternating domains."""
