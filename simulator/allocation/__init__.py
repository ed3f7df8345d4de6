"""How a budget is best spent: compute-optimal size and tokens, what money and time buy, what each knob moves."""
