"""Parts of benchmarks/architectures.py: the campaigns, one for each mixer, and what their losses say."""
