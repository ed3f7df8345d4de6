"""Text from trained proxies: their weights read back, sampled as stacked copies, and as a generator of text."""
