"""The batched trainer: many proxies of one shape in one set of tensor operations. Importing it imports torch."""

from ._plan import device_of, measure_plan, what_is_missing
from ._train import TrainingProgress, train_group

__all__ = ["TrainingProgress", "device_of", "measure_plan", "train_group", "what_is_missing"]
