"""The editor's page: files of an installed package, served as they are. Knows their names and hashes, not what they do.

The package is a program of its own under a licence of its own. Its files are checked at the start against the hash
that was known when this version was tested; a bundle that differs is not served.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from html import escape
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from keelbill.api.caller import admit
from keelbill.api.comfy.credentials import caller_of
from keelbill.api.comfy.door import PREFIX, Named, with_headers
from keelbill.api.comfy.own_port import MARK
from keelbill.api.envelope import no_route
from keelbill.core.errors import Unauthorized
from keelbill.workspace.schemas import Account

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

PACKAGE: Final = "comfyui-frontend-package"
FOLDER: Final = "comfyui_frontend_package/static"
TESTED: Final = {
    "1.58.1": "255da936d483f2ca06889fdf507740928d394300160a3edabf7dbc4ff7c07b1a",
}
"""Hash of all served files by version."""

PAGE: Final = "index.html"
FIRST: Final = "text_to_image"
"""What the editor shows to who never ran anything; its own first workflow needs models that nobody has."""

IMAGES: Final = "assets/images/"
FOR_EVER: Final = "public, max-age=31536000, immutable"
FRESH: Final = "no-cache"
_LEFT_OUT: Final = (".map",)
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".hdr": "application/octet-stream",
    ".glb": "model/gltf-binary",
}
_PACKED: Final = (".js", ".mjs", ".css", ".json", ".svg", ".html")
_MIN_PACKED_BYTES: Final = 1024

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bundle:
    """The installed files.

    Attributes:
        version: Of the package, "" if it is not installed.
        root: Their folder.
        files: Path below it to size in bytes.
        problem: Why it is not served, "" if it is.
    """

    version: str = ""
    root: Path = Path()
    files: frozenset[str] = frozenset()
    problem: str = ""


def find_bundle() -> Bundle:
    """Find the installed package; nothing is read but its list of files."""
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return Bundle(problem="It is not installed.")
    root = Path(str(package.locate_file(FOLDER)))
    files = frozenset(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix not in _LEFT_OUT and path.is_file() and not path.is_symlink()
    )
    problem = "" if PAGE in files else "Its files are missing."
    return Bundle(package.version, root, files, problem)


def hash_of(bundle: Bundle) -> str:
    """Return one hash of the names and contents of all files."""
    whole = hashlib.sha256()
    for name in sorted(bundle.files):
        whole.update(f"{name}\0{hashlib.sha256((bundle.root / name).read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def problem_of(bundle: Bundle) -> str:
    """Return why a bundle may not be served, "" if it may."""
    if bundle.problem:
        return bundle.problem
    if bundle.version not in TESTED:
        return f"Version {bundle.version} is installed; this server is tested with {', '.join(TESTED)}."
    if hash_of(bundle) != TESTED[bundle.version]:
        return "Its files are not those that were published. Install it again."
    return ""


class FrontEnd:
    """The routes of the page.

    Args:
        platform: For accounts.
        bundle: The installed files; looked for if none is given.
    """

    def __init__(self, platform: Platform, bundle: Bundle | None = None) -> None:
        self._platform = platform
        self.bundle = bundle or find_bundle()
        self._problem: str | None = None
        self._checking = asyncio.Lock()
        self._packed: dict[str, bytes] = {}

    @property
    def version(self) -> str:
        """Of the installed package, "" if there is none."""
        return self.bundle.version

    def routes(self) -> list[BaseRoute]:
        """Return the routes below the mount point; that of the files must come last."""
        return [Route("/", self.page, methods=["GET"]), Route("/{path:path}", self.file, methods=["GET"])]

    def root_routes(self) -> list[BaseRoute]:
        """Return the routes of what the page asks for at the root, wherever it is mounted: frames of its icon."""
        return [Route(f"/{IMAGES}{{path:path}}", self.image, methods=["GET"])]

    async def image(self, request: Request) -> Response:
        """Send an image of the package."""
        request.path_params["path"] = IMAGES + str(request.path_params["path"])
        return await self.file(request)

    async def check(self) -> str:
        """Check the files, once; return why they are not served, "" if they are."""
        async with self._checking:
            if self._problem is None:
                self._problem = await asyncio.to_thread(problem_of, self.bundle)
                if self._problem:
                    _log.warning("graph_editor_off", reason=self._problem)
        return self._problem

    async def page(self, request: Request) -> Response:
        """Send the page to whoever is signed in, all others to the sign-in."""
        request.scope["route"] = Named(f"{PREFIX}/")
        try:
            principal = await caller_of(request, self._platform, writes=False)
        except Unauthorized:
            base = "" if _is_on_main_port(request) else self._platform.accounts.rules.base_url
            wanted = f"{PREFIX}/?{request.url.query}" if request.url.query else f"{PREFIX}/"
            return RedirectResponse(f"{base}/sign-in?next={quote(wanted, safe='')}", 302)
        admit(request, self._platform, principal)
        account = Account(principal.org_id, principal.user_id)
        if not request.query_params and await self._platform.runs.is_new(account):
            return RedirectResponse(f"?template={FIRST}", 302)
        if problem := await self.check():
            return with_headers(Response(_explained(problem), 503, media_type="text/html"))
        return await self._send(request, PAGE)

    async def file(self, request: Request) -> Response:
        """Send one file of the package. They are public, and the same for everybody."""
        request.scope["route"] = Named(f"{PREFIX}/{{file}}")
        path = str(request.path_params["path"])
        if path not in self.bundle.files or path == PAGE or await self.check():
            raise no_route(request.scope, 404, "")
        return await self._send(request, path)

    async def _send(self, request: Request, path: str) -> Response:
        ending = Path(path).suffix
        is_kept = path.startswith(("assets/", "fonts/", "cursor/")) and ending not in {".js", ".css", ".json"}
        is_hashed = path.startswith("assets/") and "-" in Path(path).stem
        headers = {"cache-control": FOR_EVER if is_kept or is_hashed else FRESH, "vary": "accept-encoding"}
        media_type = _TYPES.get(ending, "application/octet-stream")
        target = self.bundle.root / path
        if ending in _PACKED and "gzip" in request.headers.get("accept-encoding", ""):
            if path not in self._packed:
                self._packed[path] = await asyncio.to_thread(_pack, target)
            content = self._packed[path]
            headers["content-encoding"] = "gzip"
        else:
            content = await asyncio.to_thread(target.read_bytes)
        return with_headers(Response(content, media_type=media_type, headers=headers))


def _pack(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 6, mtime=0)


def _is_on_main_port(request: Request) -> bool:
    return not request.scope.get(MARK)


def _explained(problem: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>The graph editor is not here</title>
<style>body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem; }}</style>
<h1>The graph editor is not here</h1>
<p>{escape(problem)}</p>
<p>The editor is a package of its own. The operator of this server installs it with</p>
<pre>pip install "keelbill[graph]"</pre>
<p>and starts the server again. Graphs can be sent to <code>{PREFIX}/prompt</code> without it.
<a href="/">Back to the studio</a></p>
</html>
"""
