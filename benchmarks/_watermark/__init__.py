"""Parts of `benchmarks/watermark.py`."""
