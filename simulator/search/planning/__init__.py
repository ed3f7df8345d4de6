"""Ask-and-tell planning of real training runs: proposals, reported results, and outcomes read from logs."""
