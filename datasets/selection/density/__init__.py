"""How crowded the place of a document is: sums of a kernel, and the bandwidth at which copies show."""
