"""PyTorch modules: built by their factory, traced and lowered to the graph."""
