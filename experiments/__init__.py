"""What a person runs: the command line, the stages of a reproduction, tables, tracking."""
