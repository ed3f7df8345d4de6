"""Text that leaves the program: what may reach a terminal, and streams that may be closed."""
