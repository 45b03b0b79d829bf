"""The built-in nodes, one module for each kind of work. Declarations only import what the server has."""
