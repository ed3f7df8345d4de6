"""The machines of a run: step time, memory, goodput, money and energy. Import its modules directly."""
