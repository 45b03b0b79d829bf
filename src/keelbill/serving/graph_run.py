"""One graph on its way through a worker, in a thread of its own. Knows neither queue nor money."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import torch

from keelbill.core.errors import AppError
from keelbill.engine.batch import Stepped
from keelbill.graph.cache import Caches
from keelbill.graph.errors import Interrupted, NodeFailed
from keelbill.graph.execute import Executor, NodeOutput
from keelbill.graph.node import NewFile
from keelbill.imaging.decode import open_header
from keelbill.serving.bench import Bench, small_jpeg
from keelbill.serving.messages import Cancelled, Failed, GraphFile, GraphNews, GraphTask, JobSpec, Succeeded

if TYPE_CHECKING:
    from torch import Tensor

    from keelbill.engine.batch import Sampling
    from keelbill.engine.mmdit import MMDiT
    from keelbill.engine.preview import LinearPreview
    from keelbill.graph.context import Models
    from keelbill.serving.bench import Remote
    from keelbill.serving.messages import ImageTask

PREVIEW_EVERY_S: Final = 0.2
PREVIEW_SIDE: Final = 512

Say = Callable[[GraphNews], None]


class GraphRun:
    """Runs a graph and tells of it.

    Args:
        job: Whose graph.
        task: The graph.
        bench: What its nodes reach.
        caches: Earlier results, by tenant.
        say: Told what happens inside.
        done: Told once how it ended, by the run's thread.
    """

    def __init__(
        self,
        job: JobSpec,
        task: GraphTask,
        bench: Bench,
        caches: Caches,
        say: Say,
        done: Callable[[Succeeded | Failed | Cancelled], None],
    ) -> None:
        self._job = job
        self._task = task
        self._bench = bench
        self._caches = caches
        self._say = say
        self._done = done
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"graph {job.job_id[:8]}")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def interrupt(self, reason: str) -> None:
        """Stop at the next step or node."""
        self._bench.interrupt.set(reason)

    def _work(self) -> None:
        end: Succeeded | Failed | Cancelled = Failed("internal_error", "The graph could not be run.")
        begun_s = time.monotonic()
        try:
            with torch.inference_mode():
                self._execute()
            end = self._succeeded(time.monotonic() - begun_s)
        except Interrupted as error:
            end = Cancelled(error.message or "interrupted")
        except NodeFailed as error:
            end = Failed(error.code, error.message, detail=json.dumps(error.detail()))
        except AppError as error:
            end = Failed(error.code, error.message)
        finally:
            self._done(end)

    def _execute(self) -> None:
        executor = Executor(self._caches.of(self._task.tenant), listener=self, free=self._make_room)
        executor.run(
            json.loads(self._task.prompt),
            self._task.outputs,
            context=lambda node: _NodeContext(
                node, self._bench, self._say, previews=self._job.task.previews, metadata=self._task.metadata
            ),
            extra=json.loads(self._task.extra) if self._task.extra else {},
            digests=self._task.files,
            check=self._bench.interrupt.check,
        )

    def _make_room(self) -> None:
        self._caches.free()
        self._bench.free()

    def _succeeded(self, seconds: float) -> Succeeded:
        task = self._job.task
        return Succeeded(
            image=b"",
            media_type="",
            width=task.width,
            height=task.height,
            seed=task.seed,
            model=task.model,
            seconds=seconds,
            phases={"graph": seconds * 1000},
            is_billable=self._bench.pictures > 0,
        )

    # ------------------------------------------------------------ what the executor tells

    def cached(self, nodes: Sequence[str]) -> None:
        """Tell which nodes' results are known already."""
        self._say(GraphNews(kind="cached", nodes=tuple(nodes)))

    def started(self, node: str, display: str) -> None:
        """Tell that a node begins."""
        self._say(GraphNews(kind="node", node=node, display=display))

    def finished(self, node: str, display: str) -> None:
        """Tell that a node has ended."""
        self._say(GraphNews(kind="done", node=node, display=display))

    def output(self, node: str, display: str, output: NodeOutput, *, is_cached: bool) -> None:
        """Tell what clients are shown of a node."""
        self._say(
            GraphNews(
                kind="output",
                node=node,
                display=display,
                shown=json.dumps(output.shown) if output.shown else "",
                files=tuple(_file(file, f"{output.key}.{place}") for place, file in enumerate(output.files)),
                files_key=output.files_key,
                is_cached=is_cached,
            )
        )


class _NodeContext:
    """The bench as one node sees it."""

    def __init__(self, node_id: str, bench: Bench, say: Say, *, previews: bool, metadata: bool) -> None:
        self.node_id = node_id
        self.writes_metadata = metadata
        self.models: Models = bench.models
        self._bench = bench
        self._say = say
        self._previews = previews
        self._preview_at_s = 0.0

    def read(self, name: str) -> bytes:
        return self._bench.read(name)

    def sample(
        self, transformer: MMDiT, samplings: Sequence[Sampling], *, preview: LinearPreview | None = None
    ) -> list[Tensor]:
        return self._bench.sample(transformer, samplings, lambda step: self._stepped(step, preview))

    def paint(self, task: ImageTask, images: Sequence[Tensor] = ()) -> Tensor:
        return self._bench.paint(task, images, lambda step: self._stepped(step, None))

    def remote(self) -> Remote | None:
        return self._bench.remote

    def progress(self, value: int, total: int, image: bytes | None = None) -> None:
        self._bench.interrupt.check()
        self._tell(value, total, image)

    def moderate(self, pixels: Tensor) -> Tensor:
        return self._bench.moderate(pixels)

    def _stepped(self, step: Stepped, preview: LinearPreview | None) -> None:
        now_s, image = time.monotonic(), None
        if self._previews and preview is not None and now_s - self._preview_at_s >= PREVIEW_EVERY_S:
            self._preview_at_s = now_s
            image = small_jpeg(preview, step.denoised, side=PREVIEW_SIDE)
        self._tell(step.step, step.steps, image)

    def _tell(self, value: int, total: int, image: bytes | None) -> None:
        self._say(
            GraphNews(kind="progress", node=self.node_id, display=self.node_id, value=value, total=total, image=image)
        )


def _file(file: NewFile, key: str) -> GraphFile:
    width, height = open_header(file.content).size if file.media_type.startswith("image/") else (0, 0)
    return GraphFile(
        content=file.content,
        media_type=file.media_type,
        prefix=file.prefix,
        kind=file.kind,
        key=key,
        width=width,
        height=height,
    )
