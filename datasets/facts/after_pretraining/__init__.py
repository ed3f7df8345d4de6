"""What is published of what comes after pretraining: prices of labels, success of oversight."""
