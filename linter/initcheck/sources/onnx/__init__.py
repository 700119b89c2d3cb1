"""The ONNX front end; nothing outside this package imports ``onnx``."""
