"""The sensitivity of a plan's outcomes to each of its numbers."""
