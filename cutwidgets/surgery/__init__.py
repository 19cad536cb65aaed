"""New models from parts of a model: cut, split, join, replace, remove; and their checks."""
