"""The public prior and the predictors that ship with the package; made by benchmarks/facts_laws.py."""
