"""What money, time and machines buy."""
