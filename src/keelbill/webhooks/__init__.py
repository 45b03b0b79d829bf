"""Signed calls to the addresses that users register. Knows only events and addresses."""
