"""Forward passes: inputs, photographs, activations, and what Keras's backends need."""
