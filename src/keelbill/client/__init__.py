"""The Python SDK. Imports nothing of the server."""
