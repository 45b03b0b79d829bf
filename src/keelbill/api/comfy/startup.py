"""What the editor asks for when it starts: users, settings, features, the machine. Knows no graph and no file."""

from __future__ import annotations

import platform as machine
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import psutil  # type: ignore[import-untyped]  # ships no annotations
from starlette.routing import BaseRoute

from keelbill import __version__
from keelbill.api.comfy.bodies import read_object, read_value
from keelbill.api.comfy.door import Call, both, nothing, one, reply
from keelbill.core.errors import PermissionDenied

if TYPE_CHECKING:
    from starlette.responses import Response

    from keelbill.api.platform import Platform
    from keelbill.serving.messages import WorkerInfo

GENERATION: Final = "0.8.0"
"""The generation of servers whose routes and events these are; some clients compare it."""

ARGUMENTS: Final = ("keelbill", "--disable-api-nodes")
"""Shown as the command line to everybody: the second keeps the editor from asking its vendor for releases."""

SEEDED: Final[dict[str, Any]] = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.NodeBadge.ShowApiPricing": False,
    "Comfy.VersionCompatibility.DisableWarnings": True,
    "Comfy.Workflow.Persist": True,
    "Comfy.VueNodes.Enabled": False,
}
"""Settings of the editor until an account sets its own."""


def features(platform: Platform) -> dict[str, Any]:
    """Return what this server says that it can do."""
    return {
        "supports_preview_metadata": True,
        "max_upload_size": platform.settings.max_image_bytes,
        "partner_run_gate_enabled": False,
        "show_signin_button": False,
    }


class Startup:
    """The routes.

    Args:
        platform: The parts of the server.
        front_end: Version of the editor that is installed, "" if none is.
    """

    def __init__(self, platform: Platform, front_end: str) -> None:
        self._features = features(platform)
        self._front_end = front_end

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            *both("/users", self.users),
            *both("/settings", self.settings),
            *both("/settings", self.set_settings, "POST", reads="text"),
            *both("/settings/{name:path}", self.setting),
            *both("/settings/{name:path}", self.set_setting, "POST", reads="text"),
            *both("/features", self.describe),
            *both("/system_stats", self.system_stats),
            *both("/i18n", self.empty),
            *both("/global_subgraphs", self.empty),
            *both("/global_subgraphs/{name}", self.empty),
            *both("/workflow_templates", self.empty),
            *both("/node_replacements", self.empty),
            *both("/free", self.free, "POST"),
            one("/internal/logs/raw", self.logs),
            one("/internal/logs", self.logs),
            one("/internal/logs/subscribe", self.logs, "PATCH"),
            one("/internal/folder_paths", self.logs),
        ]

    async def users(self, call: Call) -> Response:
        """Say that there is no choice of users: whoever is signed in is the user."""
        return reply({"storage": "server", "migrated": True})

    async def settings(self, call: Call) -> Response:
        """Return the account's settings."""
        return reply(SEEDED | await call.platform.workspace.settings(call.account))

    async def setting(self, call: Call) -> Response:
        """Return one setting, or null."""
        found = SEEDED | await call.platform.workspace.settings(call.account)
        return reply(found.get(call.path("name")))

    async def set_settings(self, call: Call) -> Response:
        """Change some settings."""
        await call.platform.workspace.set_settings(call.account, await read_object(call.request))
        return nothing()

    async def set_setting(self, call: Call) -> Response:
        """Change one setting."""
        value = await read_value(call.request)
        await call.platform.workspace.set_settings(call.account, {call.path("name"): value})
        return nothing()

    async def describe(self, call: Call) -> Response:
        """Return what the server can do."""
        return reply(self._features)

    async def system_stats(self, call: Call) -> Response:
        """Return what the machine is."""
        memory = psutil.virtual_memory()
        system = {
            "os": sys.platform,
            "ram_total": memory.total,
            "ram_free": memory.available,
            "comfyui_version": GENERATION,
            "required_frontend_version": self._front_end,
            "installed_templates_version": __version__,
            "required_templates_version": __version__,
            "python_version": machine.python_version(),
            "pytorch_version": _torch_version(),
            "embedded_python": False,
            "argv": list(ARGUMENTS),
        }
        devices = [_device(place, worker, memory.total) for place, worker in enumerate(call.platform.gateway.workers())]
        return reply({"system": system, "devices": devices})

    async def free(self, call: Call) -> Response:
        """Take note that a client wants memory freed; the memory is everybody's, so nothing is done."""
        await read_object(call.request)
        return nothing()

    async def logs(self, call: Call) -> Response:
        """Refuse: logs are the operator's, and shown by the operator's own means."""
        raise PermissionDenied("logs: this server does not show its logs or folders here")

    async def empty(self, call: Call) -> Response:
        """Answer with nothing of its kind."""
        return reply({})


def _device(place: int, worker: WorkerInfo, ram_total: int) -> dict[str, Any]:
    is_accelerator = worker.accelerator_bytes > 0
    used = worker.accelerator_bytes if is_accelerator else worker.memory_bytes
    total = max(ram_total, used)
    return {
        "name": worker.device,
        "type": "cuda" if is_accelerator else "cpu",
        "index": place,
        "vram_total": total,
        "vram_free": total - used,
        "torch_vram_total": used,
        "torch_vram_free": 0,
    }


def _torch_version() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""
