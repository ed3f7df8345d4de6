"""Pictures of a plan: what loss to expect, chances, money, time and memory."""
