"""Checks that anybody can run: kernels against higher precision, gradients against difference quotients."""
