"""What content and style are: backbones, statistics, losses, precision, memory."""
