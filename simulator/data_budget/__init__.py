"""The budget of distinct text: a plan's stocks, its epochs, and the exhaustion of public text."""
