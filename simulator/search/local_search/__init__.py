"""From good trials to the best plan nearby."""
