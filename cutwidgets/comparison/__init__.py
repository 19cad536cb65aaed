"""Compare two models, block by block and layer by layer: what is the same, and what is not."""
