"""Views of text: what is in a corpus, what a selection kept of it, and how long a stock lasts."""
