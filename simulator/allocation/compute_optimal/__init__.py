"""The compute-optimal size and tokens, and the loss around the optimum."""
