"""Plans from a few words: a size, a known model or a `config.json`, tokens, accelerators; and what a plan may say."""
