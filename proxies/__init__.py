"""Trains small models for real: which ones (`design`), how (`models`, `engine`), and safely to the end (`campaign`)."""
