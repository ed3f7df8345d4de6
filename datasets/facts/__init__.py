"""Published figures and fitted parameters as small data files with their sources."""
