"""Where commands write: the files of a run, folders that appear as a whole, one writer at a time."""
