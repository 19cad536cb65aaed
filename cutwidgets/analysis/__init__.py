"""What blocks cost: multiplications, memory, receptive fields, split points."""
