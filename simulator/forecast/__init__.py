"""From a planned run and a predictor to a forecast."""
