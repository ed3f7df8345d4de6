"""What would narrow a forecast, and what each of it costs."""
