"""Commands that make what forecasts rest on: text, proxies, fitted laws."""
