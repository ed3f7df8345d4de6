"""Search: for the best plan of a study (with Optuna), for the next real run, and for the next proxy runs."""
