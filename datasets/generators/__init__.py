"""Generators of synthetic text: one file each, found by name, measured by one yardstick."""
