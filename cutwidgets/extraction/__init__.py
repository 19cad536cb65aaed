"""`features`: the outputs of a slice for a whole data set, stored on disk.

Data sets are read in chunks, and an interrupted run resumes where it stopped.
"""
