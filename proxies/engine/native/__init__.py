"""Training steps in C++, for CPUs: what a step does besides its matrix products, compiled once for a machine."""
