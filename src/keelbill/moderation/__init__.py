"""Judges prompts and pictures by rules and a classifier. Knows no money and no front door."""
