"""Pictures of runs over their steps, and of what was predicted of runs against what was observed."""
