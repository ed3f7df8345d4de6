"""Logs of runs as trackers write them, read as plain records and columns."""
