"""The anatomy of a model: its blocks, stages and diagram.

Places, as people write them, are looked up here, and so are the ends that a start can reach.
"""
