"""Text corpora: a user's own, built-in and synthetic ones, and inspection of their contents."""
