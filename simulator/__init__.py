"""Predicts a training run without training it."""
