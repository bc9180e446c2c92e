"""What is measured and shown while a model trains or is evaluated: scores, rows, summaries, curves, examples."""
