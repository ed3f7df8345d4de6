"""What a model and its training schedule are, as numbers: shapes, parameter counts, FLOPs, learning rates."""
