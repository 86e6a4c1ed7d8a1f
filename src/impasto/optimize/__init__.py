"""Painting by optimisation: the loop, what is minimised, what is moved, and the presets."""
