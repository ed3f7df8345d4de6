"""One hierarchical model under every forecast: what a table of runs is like, given those that others published."""
