"""The search space of a study: its configuration, its dimensions, and the conversion to run configurations."""
