"""Optuna's trials: which sampler, where to begin, what each trial keeps, more processes."""
