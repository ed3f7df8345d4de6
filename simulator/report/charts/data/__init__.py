"""Pictures of text: what a selection kept of it, and how the kept text differs."""
