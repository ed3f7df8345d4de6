"""What a plan may name as a law of a stage after pretraining, beside a file."""

__all__ = ["PRIOR", "PROXIES"]

PRIOR = "prior"
"""What is believed of a set-up of which nothing is measured."""
PROXIES = "proxies"
"""The law that was fitted to our own proxies and ships."""
