"""What stands before every route: who may ask, how often, how much, and what every answer carries. Plain ASGI."""
