"""Copies among documents: exact ones, ones that share most of their word sequences, ones that mean the same."""
