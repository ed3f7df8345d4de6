"""What is on disk: folders that are replaced whole, the arrays of an archive."""
