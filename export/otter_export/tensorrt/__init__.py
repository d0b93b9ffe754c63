"""What TensorRT's ONNX parser takes, per version, and holding a graph to it without TensorRT."""
