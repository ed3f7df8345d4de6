"""Commands that look for a better run: plans, sizes, layouts."""
