"""HTTP front doors: every route, its parsing and its answers. Knows no tensors and no SQL."""
