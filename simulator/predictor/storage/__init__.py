"""A predictor as a folder: formats, checks, model card."""
