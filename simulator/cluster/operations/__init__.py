"""Operation of a run beside its steps: failures, checkpoints, cost, energy."""
