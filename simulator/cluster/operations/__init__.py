"""What happens beside the steps: failures, checkpoints, money, energy."""
