"""Views of what one may name to begin with: accelerators, corpora, models, prices, and the fields of a plan."""
