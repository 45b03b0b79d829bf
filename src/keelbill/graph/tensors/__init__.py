"""Tensor work of the built-in nodes. Imported only while a node runs, so that the server stays free of torch."""
