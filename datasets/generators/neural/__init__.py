"""What neural generators share: windows of text, and networks that are trained to the same bits by the same seed."""
