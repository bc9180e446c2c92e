"""What a corpus holds, its bank, and mixtures as files."""
