"""impasto: neural style transfer, pictures repainted in the manner of other pictures."""
