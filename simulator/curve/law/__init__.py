"""The multi-power law of a loss curve: its formula, fit and priors."""
