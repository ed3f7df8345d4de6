"""Measured training steps: tables of them, and those of one cluster that a model is calibrated on."""
