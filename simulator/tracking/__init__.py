"""Tracking of a running job against its plan: its log, problems in it, and the forecast of its final loss and end."""
