"""The graph editor's front door: its page, routes and socket, as its clients know them. Knows HTTP, runs no node."""
