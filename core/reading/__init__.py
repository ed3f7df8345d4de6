"""Reading and checking what people write: strict YAML, typed fields, messages that say what would be accepted."""
