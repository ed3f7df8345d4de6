"""The batched trainer: many proxies of one shape in one set of tensor operations. Importing it imports torch."""

from ._train import TrainingProgress, train_group

__all__ = ["TrainingProgress", "train_group"]
