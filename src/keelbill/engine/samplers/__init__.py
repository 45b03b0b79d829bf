"""Samplers by name: ways from noise to a latent. Knows nothing of models, guidance, prompts or masks.

A sampler is a generator that yields what the model should evaluate; whoever drives it sends back the denoised estimate.
A driver that repaints only part of a picture swaps the rest of `x` and of the estimate on the way in and out.
"""

from keelbill.engine.samplers import ode, sde
from keelbill.engine.samplers.base import (
    SAMPLERS,
    Evaluation,
    Evaluations,
    Noise,
    Sampler,
    denoise,
    evaluation_sigmas,
)

__all__ = [
    "SAMPLERS",
    "Evaluation",
    "Evaluations",
    "Noise",
    "Sampler",
    "denoise",
    "evaluation_sigmas",
    "ode",
    "sde",
]
