"""Front ends that turn a target into a graph: the only code that knows a file format or a framework."""
