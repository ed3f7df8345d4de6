"""Experimental design of proxies: the space, its mixes and sizes, and the predicted cost."""
