"""Commands to begin with: a project to start from."""
