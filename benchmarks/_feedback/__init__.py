"""Parts of benchmarks/feedback.py: a policy, a gold reward, learned rewards, and what optimising them gives."""
