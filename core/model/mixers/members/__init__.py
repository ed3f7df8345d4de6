"""The token mixers, one file each."""
