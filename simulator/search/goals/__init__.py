"""What plans are judged by: goals, limits and the measures they name."""
