"""The steps of selections, one file each."""
