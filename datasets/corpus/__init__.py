"""Text: a user's corpora, what is in them, and sources that every installation has."""
