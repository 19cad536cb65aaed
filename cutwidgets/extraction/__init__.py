"""A slice over a whole data set, stored on disk."""
