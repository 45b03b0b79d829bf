"""Training of the embedded model: an offline tool, never imported by the server."""
