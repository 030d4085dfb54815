"""What `from_onnx` is made of: `files` opens, `steps` follows the graph, `structure` makes the model."""
