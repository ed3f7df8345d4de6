"""What stages of a plan do to the forecast: one text that stands for several, and ends on the way."""
