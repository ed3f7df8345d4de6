"""Which proxies to train: a space, its mixes and sizes, what they will cost."""
