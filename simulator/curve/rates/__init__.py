"""The learning rate of every step of a run."""
