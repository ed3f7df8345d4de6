"""Optuna's trials: the choice of the sampler, warm starts, the record in each trial, worker processes."""
