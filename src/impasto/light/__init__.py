"""Painting with onnxruntime alone, where torch is not installed or not worth its start."""
