"""What was learned from a run table: laws, learned corrections and calibration, one loss column each."""
