"""foretrain: simulate an LLM pretraining run before anyone pays for it."""

__version__ = "0.1.0"
