"""The generators of ours, one a file."""
