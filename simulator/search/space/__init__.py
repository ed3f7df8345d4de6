"""What a study may vary, from its text to run configurations and back."""
