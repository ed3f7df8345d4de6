"""What joins proxies with the simulator."""
