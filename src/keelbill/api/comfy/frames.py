"""The frames of the editor's socket, byte for byte. Knows no account and no socket."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from keelbill.workspace.live import Live, NodeLife

PREVIEW: Final = 1
PREVIEW_WITH_FACTS: Final = 4
JPEG: Final = 1
PNG: Final = 2
_PNG_START: Final = b"\x89PNG"


def text(kind: str, data: dict[str, Any]) -> str:
    """Return a frame of text."""
    return json.dumps({"type": kind, "data": data}, ensure_ascii=False, separators=(",", ":"))


def status(remaining: int, sid: str | None = None) -> str:
    """Return how many runs of the account have not ended."""
    data: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": remaining}}}
    return text("status", data | ({"sid": sid} if sid is not None else {}))


def executing(live: Live, node: str | None) -> str:
    """Return which node runs; nothing means that the run has ended."""
    life = live.nodes.get(node) if node else None
    shown = life.display if life else node
    return text("executing", {"node": node, "display_node": shown, "prompt_id": live.run.prompt_id})


def progress(live: Live, life: NodeLife) -> str:
    """Return how far a node is."""
    data = {"value": life.value, "max": life.total, "prompt_id": live.run.prompt_id, "node": life.node}
    return text("progress", data)


def progress_state(live: Live) -> str:
    """Return how far all nodes are that have begun."""
    nodes = {
        life.node: {
            "value": life.value,
            "max": life.total,
            "state": life.state,
            **_ids(live, life),
        }
        for life in live.nodes.values()
    }
    return text("progress_state", {"prompt_id": live.run.prompt_id, "nodes": nodes})


def executed(live: Live, node: str, display: str, output: dict[str, Any]) -> str:
    """Return what an output node shows."""
    data = {"node": node, "display_node": display or node, "output": output, "prompt_id": live.run.prompt_id}
    return text("executed", data)


def is_result(image: bytes) -> bool:
    """Whether a picture is a finished one that a node sends, not a preview; only those are PNG files."""
    return image.startswith(_PNG_START)


def picture(image: bytes) -> bytes:
    """Return a picture of which the client is told nothing else."""
    kind = PNG if is_result(image) else JPEG
    return struct.pack(">II", PREVIEW, kind) + image


def picture_with_facts(live: Live, life: NodeLife, image: bytes) -> bytes:
    """Return a preview that says which node of which run it is of."""
    facts = json.dumps(_ids(live, life) | {"image_type": "image/jpeg"}).encode()
    return struct.pack(">II", PREVIEW_WITH_FACTS, len(facts)) + facts + image


def _ids(live: Live, life: NodeLife) -> dict[str, Any]:
    return {
        "node_id": life.node,
        "prompt_id": live.run.prompt_id,
        "display_node_id": life.display,
        "parent_node_id": None,
        "real_node_id": life.node,
    }
