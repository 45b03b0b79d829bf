"""Quick looks at latents while they are being denoised. Knows the transformer's latents, not the autoencoder's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput


class LinearPreview:
    """Colours as a linear map of the latent channels, at an eighth of the picture's size and almost no cost.

    Args:
        matrix: Latent channels to red, green and blue, with shape ``(C, 3)``.
        bias: Colour of a zero latent, with shape ``(3,)``.

    Raises:
        InvalidInput: The shapes do not fit.
    """

    def __init__(self, matrix: Tensor, bias: Tensor) -> None:
        if matrix.dim() != 2 or matrix.shape[1] != 3 or bias.shape != (3,):
            shapes = (tuple(matrix.shape), tuple(bias.shape))
            raise InvalidInput("preview", shapes, "a matrix of shape (C, 3) and a bias of shape (3,)")
        self.matrix = matrix.float()
        self.bias = bias.float()

    @classmethod
    def fit(cls, latents: Tensor, pixels: Tensor) -> LinearPreview:
        """Find the map with the least squared error.

        Args:
            latents: The transformer's latents with shape ``(B, C, h, w)``.
            pixels: The same pictures in [0, 1] with shape ``(B, 3, H, W)``, `H` and `W` multiples of `h` and `w`.

        Raises:
            InvalidInput: The batches differ in number, or there are too few places to fit.
        """
        height, width = latents.shape[-2:]
        colours = F.adaptive_avg_pool2d(pixels.float(), (height, width)).movedim(1, -1).reshape(-1, 3)
        channels = latents.float().movedim(1, -1).flatten(0, 2)
        if len(colours) != len(channels) or len(channels) <= channels.shape[1]:
            raise InvalidInput("latents", tuple(latents.shape), "as many as pictures, with more places than channels")
        known = torch.cat((channels, torch.ones_like(channels[:, :1])), dim=1).double()
        # The normal equations with a trace of ridge: channels may be constant in a small sample.
        square = known.T @ known
        ridge = torch.eye(len(square), dtype=torch.float64) * square.diagonal().mean() * 1e-9
        solution = torch.linalg.solve(square + ridge, known.T @ colours.double()).float()
        return cls(solution[:-1], solution[-1])

    def __call__(self, latents: Tensor) -> Tensor:
        """Return colours.

        Args:
            latents: The transformer's latents with shape ``(..., C, h, w)``.

        Returns:
            Pixels in [0, 1] with shape ``(..., 3, h, w)``.
        """
        matrix, bias = self.matrix.to(latents.device), self.bias.to(latents.device)
        rgb = latents.float().movedim(-3, -1) @ matrix + bias
        return rgb.movedim(-1, -3).clamp(0, 1)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.conv = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class TinyDecoder(nn.Sequential):
    """Decodes the transformer's latents to small errors at a fiftieth of the full decoder's work (1.2 M parameters).

    Args:
        channels: Of the latents.
        width: Of the convolutions; 64 in the published weights.

    References:
        | Tiny AutoEncoder for Stable Diffusion (Bohan, 2023)
    """

    def __init__(self, channels: int = 16, width: int = 64) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [_Block(width) for _ in range(3)]
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
        super().__init__(*layers, _Block(width), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, latents: Tensor) -> Tensor:
        """Decode.

        Args:
            latents: The transformer's latents with shape ``(B, C, h, w)``.

        Returns:
            Pixels in [0, 1] with shape ``(B, 3, 8h, 8w)``.
        """
        x = torch.tanh(latents / 3) * 3
        for layer in self:
            x = layer(x)
        return x.clamp(0, 1)
