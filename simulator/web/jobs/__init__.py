"""Work that takes minutes: a process of its own for each, a line before them, progress, and results that are kept."""
