"""Runs of built-in layers as programs: what stands in which row, and where."""
