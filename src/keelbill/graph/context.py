"""What a running node may reach: models, pictures, the shared sampler, progress. Never a path, a user or a price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from keelbill.engine.batch import Sampling
    from keelbill.engine.mmdit import MMDiT
    from keelbill.engine.model import Model
    from keelbill.engine.upscale import Enlarger
    from keelbill.serving.messages import ImageTask


class Models(Protocol):
    """The installed models, loaded when they are first asked for and kept by the worker."""

    def checkpoint(self, name: str) -> Model:
        """Return a whole model by its name in `checkpoints`; "" is the server's default.

        Raises:
            UnknownModel: It is not installed.
            BadWeights: Its file cannot be used.
        """
        ...

    def stand_in(self, folder: str, name: str) -> Model | None:
        """Return the installed model of which a name in a folder stands for a part, or nothing if it is a file.

        Args:
            folder: ``diffusion_models``, ``text_encoders`` or ``vae``.
            name: Such as ``clip_l.safetensors``, which stands for the text encoder of the program's own model while
                no other is installed.

        Raises:
            UnknownModel: There is neither.
        """
        ...

    def tensors(self, folder: str, name: str) -> dict[str, Tensor]:
        """Return the tensors of a safetensors file of a model folder such as ``loras``, on the CPU.

        Raises:
            UnknownModel: There is no such file.
            BadWeights: It cannot be used.
        """
        ...

    def tokenizer(self, name: str) -> str:
        """Return the content of the ``tokenizer.json`` that belongs to a T5 file of `text_encoders`.

        Raises:
            BadWeights: There is none beside it.
        """
        ...

    def upscaler(self, name: str) -> Enlarger:
        """Return an enlarging network by its name in `upscale_models`.

        Raises:
            UnknownModel: There is no such file.
            BadWeights: It is no enlarging network.
        """
        ...


class Context(Protocol):
    """The worker as one node sees it while it runs."""

    node_id: str
    models: Models
    writes_metadata: bool
    """Whether pictures carry the graph."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a picture that the graph names, such as ``cat.png`` or ``a/b.png [output]``.

        Raises:
            NotFound: The account has no such picture.
        """
        ...

    def sample(self, transformer: MMDiT, samplings: Sequence[Sampling], *, preview: Any = None) -> list[Tensor]:
        """Denoise in the batch that the worker's other jobs share; reports progress and previews, obeys interrupts.

        Args:
            transformer: Whose batch; one that belongs to no studio is given a batch of its own.
            samplings: One for each picture.
            preview: A `LinearPreview` of the latents, or nothing.

        Returns:
            Final latents of each, with shape ``(C, h, w)``.

        Raises:
            Interrupted: Somebody stopped the graph.
            BadWeights: The network gave values that are not numbers.
        """
        ...

    def paint(self, task: ImageTask, images: Sequence[Tensor] = ()) -> Tensor:
        """Make a picture as the REST API does, in the same batch; nothing is charged beyond the graph's price.

        Args:
            task: What to make; its `image` and `mask` are ``"0"`` and ``"1"``: places in `images`.
            images: Inputs in [0, 1] with shape ``(H, W, 3 or 4)``; a mask has its picture in the first channel.

        Returns:
            Pixels in [0, 1] with shape ``(H, W, 3)``.
        """
        ...

    def remote(self) -> Callable[[str, dict[str, str], dict[str, bytes]], bytes] | None:
        """Return how to call the image service that this server is set to use, or nothing if it is this server.

        The function takes a route such as ``generate/sd3``, form fields and files, and returns the picture's bytes.
        """
        ...

    def progress(self, value: int, total: int, image: bytes | None = None) -> None:
        """Tell how far the node is, and obey interrupts.

        Args:
            value: Parts that are done.
            total: Parts in all.
            image: A JPEG to look at, or a PNG that is itself a result.

        Raises:
            Interrupted: Somebody stopped the graph.
        """
        ...

    def moderate(self, pixels: Tensor) -> Tensor:
        """Return a batch ``(B, H, W, C)`` with those pictures blurred that may not be shown."""
        ...
