"""New models from parts of a model, and the check that they compute the same.

`cut`, `split`, `join`, `remove` and `replace` return models; `to_code` returns a script.
"""
