"""From the runs of one loss to its `LossModel`: which law, fitted how, calibrated on what, and what looks wrong."""
