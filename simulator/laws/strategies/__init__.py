"""What strategies do to the loss: how text was selected, how much of it models wrote. One term a file."""
