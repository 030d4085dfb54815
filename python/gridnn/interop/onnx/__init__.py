"""ONNX files: `writer` makes them. Nothing here is loaded before a model is exported."""
