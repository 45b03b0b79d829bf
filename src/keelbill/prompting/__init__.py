"""Turns what a user wrote into what a model reads: style presets. Knows no users."""
