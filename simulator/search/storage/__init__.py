"""Persistent studies: journal files, databases, leases of running trials, and the loop that runs trials."""
