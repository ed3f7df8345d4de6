"""What each number of a plan moves."""
