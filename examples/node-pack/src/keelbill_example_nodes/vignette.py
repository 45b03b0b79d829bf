"""Darkens the corners of pictures. What needs torch is imported where the work is done, in a worker."""

from __future__ import annotations

from typing import Any

from keelbill.graph.context import Context
from keelbill.graph.node import Node, Output, number, socket


class Vignette(Node):
    """Dark corners."""

    name = "Example Vignette"
    category = "example"
    description = "Darkens pictures towards their corners."
    inputs = (
        socket("image", "IMAGE"),
        number("strength", 0.5, 0.0, 1.0, tooltip="How dark the corners are: 0 changes nothing, 1 makes them black."),
    )
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the pictures, with shape (B, H, W, C), darkened."""
        import torch

        pixels = values["image"]
        height, width = pixels.shape[1:3]
        down = torch.linspace(-1, 1, height)[:, None]
        across = torch.linspace(-1, 1, width)[None, :]
        distance = ((down**2 + across**2) / 2)[None, :, :, None]
        return ((pixels * (1 - values["strength"] * distance)).clamp(0, 1),)
