"""Derived corpora: what a selection keeps of a corpus, written as a corpus of its own, and what can be said of it."""
