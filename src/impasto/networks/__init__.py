"""Feed-forward networks: what they are made of, their files, and one pass through them."""
