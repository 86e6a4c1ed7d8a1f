"""Networks for other programs: ONNX graphs, and the page that paints in a browser."""
