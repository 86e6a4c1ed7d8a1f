"""The lab: look inside. What layers answer to, what of a picture survives in them, what a Gram matrix holds.

`layers` gives networks names to look at; `activations`, `inversion`, `grams` and `textures` compute and draw;
`experiments` runs grids of settings; `timeline` turns the folder of a run into a film. `sheets` is what all draw
with. Nothing here prints: figures come back as matplotlib's `Figure`.
"""
