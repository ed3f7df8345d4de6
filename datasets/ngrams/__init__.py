"""N-grams of bytes: the cheapest language model of text, fitted and scored in a second or two per 200 kB or less."""
