"""Optimizers, and what they keep of the parameters."""
