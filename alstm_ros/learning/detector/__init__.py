"""The default detector: its network, its teacher, its training and its ONNX file."""
