"""Puts the graph editor's front door together: its parts, in the order in which they are asked. Knows no rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from keelbill.api.comfy.door import PREFIX, mounted
from keelbill.api.comfy.extensions import Extensions
from keelbill.api.comfy.files import Files
from keelbill.api.comfy.frontend import FrontEnd
from keelbill.api.comfy.models import ModelNames, Models
from keelbill.api.comfy.prompts import Prompts
from keelbill.api.comfy.runs_api import RunsApi
from keelbill.api.comfy.socket import Listener
from keelbill.api.comfy.sockets import Sockets
from keelbill.api.comfy.stage import Stage
from keelbill.api.comfy.startup import Startup, features
from keelbill.api.comfy.templates import Templates
from keelbill.api.comfy.userdata import Userdata

if TYPE_CHECKING:
    from keelbill.api.platform import Platform


@dataclass(frozen=True)
class GraphDoor:
    """The parts that others need too.

    Attributes:
        models: Names of model files.
        stage: Who tells sockets.
        front_end: The page.
        routes: To be added to the application.
    """

    models: ModelNames
    stage: Stage
    front_end: FrontEnd
    routes: tuple[BaseRoute, ...]


def graph_door(platform: Platform) -> GraphDoor:
    """Build the front door, and let it be told what happens to runs."""
    stage = Stage(platform.runs, Sockets())
    platform.runs.tellers.append(stage.tell)
    models, front_end = ModelNames(platform), FrontEnd(platform)
    inside: list[BaseRoute] = [
        *Listener(platform, stage, features(platform)).routes(),
        *Extensions(platform).routes(),
        *Startup(platform, front_end.version).routes(),
        *Prompts(models, stage).routes(),
        *RunsApi(stage).routes(),
        *Files().routes(),
        *Userdata().routes(),
        *Models(models).routes(),
        *Templates(models).routes(),
        *front_end.routes(),
    ]
    return GraphDoor(models, stage, front_end, (Route(PREFIX, _to_the_page), *front_end.root_routes(), mounted(inside)))


async def _to_the_page(request: Request) -> Response:
    """Add the slash that the page's own addresses need."""
    return RedirectResponse(f"{PREFIX}/", 308)
