"""Making a paper's tables: its stages, its table beside the published one."""
