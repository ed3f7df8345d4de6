"""How long one optimizer step takes: a roofline, a network, fitted efficiencies, measured steps."""
