"""Training of small proxy models: experimental design (`design`), training (`models`, `engine`), `campaign`."""
