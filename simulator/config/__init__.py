"""A planned run as its author writes it: sections, bounds, overrides."""
