"""The anatomy of a model, and the places in it that a person can name."""
