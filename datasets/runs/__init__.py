"""The run table: one row per observed run, read, named, checked and completed."""
