"""Text as tokens on disk, and training sequences drawn from them."""
