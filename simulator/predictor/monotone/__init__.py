"""What larger and longer runs can't do: end above smaller ones."""
