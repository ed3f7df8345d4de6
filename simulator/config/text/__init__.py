"""What a run is trained on: names of texts and tokenizers, what a token holds, selections, synthetic text."""
