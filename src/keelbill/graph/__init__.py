"""Node graphs: formats, nodes, validation and execution. Knows neither HTTP, users nor money."""
