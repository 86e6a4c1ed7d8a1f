"""Training of networks: data, objectives, the loop, run folders, compression of backbones."""
