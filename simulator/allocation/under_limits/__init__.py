"""The best runs within limits on money, time and accelerators."""
