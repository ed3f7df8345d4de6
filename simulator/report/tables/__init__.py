"""Results as tables for a terminal, one file per part of the program."""
