"""Pictures of what comes after pretraining: gains by feedback, losses by the share of a domain."""
