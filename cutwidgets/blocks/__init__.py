"""Find blocks and stages in a call graph.

Pure graph work: no module here imports Keras, directly or indirectly.
"""
