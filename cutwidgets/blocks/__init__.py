"""From a call graph to blocks and stages.

Pure graph work: no module here imports Keras.
"""
