"""Stages of a run: what it is trained on and how, where that changes on the way."""
