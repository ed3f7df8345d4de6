"""Results as charts in files."""
