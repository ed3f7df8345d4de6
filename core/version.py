"""The version of this package; pyproject.toml states the same one."""

__all__ = ["__version__"]

__version__ = "0.1.0"
