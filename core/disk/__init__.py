"""What is on disk: folders that are replaced whole, folders that one process holds, the arrays of an archive."""
