"""Layers, and layers in a row."""
