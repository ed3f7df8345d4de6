"""Memory of the fullest device, by part."""
