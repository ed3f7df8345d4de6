"""Training a group of proxies, by kernels in C++ or by torch, and what that measures. Importing it imports torch."""

from ._plan import device_of, measure_plan, what_is_missing
from ._speed import measure_training
from ._train import TrainingProgress, train_group

__all__ = ["TrainingProgress", "device_of", "measure_plan", "measure_training", "train_group", "what_is_missing"]
