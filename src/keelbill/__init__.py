"""Keelbill: Stable Diffusion 3 as a platform that anyone can run."""

__version__ = "0.1.0"
