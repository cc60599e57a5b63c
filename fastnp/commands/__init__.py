"""The command `fastnp`."""
