"""Reports that a meeting can decide on: what is said, in which order, and the same as HTML, Markdown or PDF."""
