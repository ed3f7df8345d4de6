"""Watermarks in generated text: lists of green tokens by secret key, and their detection."""
