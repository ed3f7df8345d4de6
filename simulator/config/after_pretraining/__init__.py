"""What a plan states of what comes after pretraining: continued pretraining, feedback, oversight."""
