"""The best size and tokens for a compute, and what lies around them."""
