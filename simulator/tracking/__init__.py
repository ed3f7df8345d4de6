"""A running job against its plan: reading its log, what is wrong with it, where the run will end, and when."""
