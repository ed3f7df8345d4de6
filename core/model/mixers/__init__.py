"""Token mixers: what lets the tokens of a sequence see one another in a layer; fields and counts, without torch."""
