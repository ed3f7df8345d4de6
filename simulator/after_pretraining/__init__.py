"""What comes after pretraining: continued pretraining, learning from feedback, oversight; what each gives and costs."""
