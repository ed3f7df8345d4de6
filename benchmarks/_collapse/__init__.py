"""Parts of the benchmark of generations of models (`collapse.py`), one module each."""
