"""Generations of proxies: each is trained on text that those before it wrote, under several regimes at once."""
