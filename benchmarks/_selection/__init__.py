"""Parts of the benchmark of data selection (`selection.py`), one module each, and the noisy pool that they share."""
