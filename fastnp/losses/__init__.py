"""Losses: how far a prediction is from its target.

`loss` is the base class of all, `built_in` what those share that kernels compute; one file for each sort of these.
"""
