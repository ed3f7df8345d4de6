"""Searching: which plan is best (studies, by Optuna), what to train for real next, which proxies to train next."""
