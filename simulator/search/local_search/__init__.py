"""Local search for better plans near good trials."""
