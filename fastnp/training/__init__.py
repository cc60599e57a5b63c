"""Training: `fit`, and what goes with it."""
