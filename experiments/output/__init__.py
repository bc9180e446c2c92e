"""How commands write: folders that appear as a whole, one writer at a time."""
