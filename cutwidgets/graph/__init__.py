"""The call graph: what it is, how it is read from a Keras model, run and rebuilt.

Only `keras_internals` touches private attributes of Keras; everything else works on `CallGraph`.
"""
