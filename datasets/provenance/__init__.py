"""Where text is from: who wrote it, under which licence, or which generator, of which text."""
