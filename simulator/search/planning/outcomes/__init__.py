"""The outcomes of real training runs, read from the files of experiment trackers."""
