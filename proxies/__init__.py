"""Training of small proxy models: experimental design (`design`), training (`models`, `engine`), `campaign`; text that
they write (`sampling`), and chains of models trained on it (`generations`).
"""
