"""What a table of runs says that no table can mean, or that its columns say of each other."""
