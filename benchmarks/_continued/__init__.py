"""Parts of benchmarks/continued.py."""
