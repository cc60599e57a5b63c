"""Networks inside jitted code of the user's own."""
