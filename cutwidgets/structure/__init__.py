"""The anatomy of a model, and the places in it that a user can name."""
