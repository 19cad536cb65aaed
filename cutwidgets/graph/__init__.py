"""The call graph of a model: its data, and how it is read from Keras, run and rebuilt.

Only `keras_internals` touches private attributes of Keras; everything else works on `CallGraph`.
"""
