"""How a model and its batch are split over devices: what is possible, and what is fastest."""
