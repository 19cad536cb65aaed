"""What each block costs.

Multiplications, memory and receptive fields are computed from shapes; no model is run.
"""
