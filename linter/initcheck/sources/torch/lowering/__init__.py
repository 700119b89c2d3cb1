"""ATen operators to nodes of the graph, one module per kind of operation.

A handler takes the call and the builder, emits one or more nodes and defines the call's first output. It raises
``NotUnderstoodError`` before it has emitted the node that defines it when the vocabulary has no word for this use.
"""
