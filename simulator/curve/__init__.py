"""The loss along a run under any learning-rate schedule: its law, fits, forecasts from a prefix, and tracking."""
