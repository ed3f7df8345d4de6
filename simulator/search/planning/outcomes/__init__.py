"""What came of real runs, from what trackers leave on disk."""
