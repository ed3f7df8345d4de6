"""How good a predictor is: scores on unseen runs, back-tests of every law."""
