"""Documents as vectors: made of their words, or read from a file; and cells of vectors that are close together."""
