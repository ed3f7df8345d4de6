"""Data: text corpora, tokens, logs of runs, run tables, and published facts."""
