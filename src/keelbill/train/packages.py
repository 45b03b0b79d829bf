"""Fetches pinned picture packages through npm and checks their licences. Does not know what the pictures show."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keelbill.core.errors import AppError, DownloadFailed, InvalidInput

ALLOWED_LICENCES = ("MIT", "Apache-2.0", "CC-BY-4.0", "OFL-1.1", "Unicode-3.0", "Unicode-DFS-2016")


class LicenceNotAllowed(AppError):
    """A package whose licence does not let us train weights that we ship."""

    code = "licence_not_allowed"
    status = 422


@dataclass(frozen=True)
class Package:
    """A pinned npm package.

    Attributes:
        name: Full name with scope.
        version: Exact version.
        licence: Licence that we expect, as an SPDX name.
        holder: Who to credit.
        use: What we take from it, for the attribution.
    """

    name: str
    version: str
    licence: str
    holder: str
    use: str

    @property
    def archive(self) -> str:
        """File name of the archive that ``npm pack`` writes."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


FLUENT_3D = Package("@lobehub/fluent-emoji-3d", "1.1.0", "MIT", "Microsoft, packaged by LobeHub", '"3d" pictures')
EMOJIBASE = Package("emojibase-data", "17.0.0", "MIT", "Miles Johnson and Unicode, Inc.", "keywords")
FLUENT_FLAT = Package("@iconify-json/fluent-emoji-flat", "1.2.6", "MIT", "Microsoft", '"flat" pictures')
NOTO = Package("@iconify-json/noto", "1.2.9", "Apache-2.0", "Google", '"cartoon" pictures')
TWEMOJI = Package(
    "@iconify-json/twemoji", "1.2.5", "CC-BY-4.0", "Twitter, Inc and other contributors", '"sticker" pictures'
)


def fetch(package: Package, cache: Path) -> Path:
    """Download and unpack a package once.

    Args:
        package: What to fetch.
        cache: Folder that keeps archives and unpacked packages.

    Returns:
        The folder that holds the package's files, with its licence checked.

    Raises:
        DownloadFailed: npm is missing, or it could not fetch the package.
        LicenceNotAllowed: The package states another licence than expected, or one that is not allowed.
    """
    target = cache / package.archive.removesuffix(".tgz")
    if not (target / "package" / "package.json").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        archive = cache / package.archive
        if not archive.is_file():
            _npm_pack(package, cache)
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
    check_licence(package, json.loads((target / "package" / "package.json").read_text(encoding="utf-8")))
    return target / "package"


def check_licence(package: Package, manifest: Mapping[str, object]) -> None:
    """Compare the licence in a package's manifest with the expected one and the list of allowed ones.

    Raises:
        LicenceNotAllowed: It is missing, unexpected or not allowed.
    """
    stated = manifest.get("license")
    if stated != package.licence or stated not in ALLOWED_LICENCES:
        raise LicenceNotAllowed(
            f"Package {package.name} {package.version} states licence {stated!r}; expected {package.licence!r}, "
            f"one of {', '.join(ALLOWED_LICENCES)}."
        )


def attribution(packages: list[Package]) -> str:
    """Return the text of ATTRIBUTION.md for the packages that were used.

    Raises:
        InvalidInput: `packages` is empty.
    """
    if not packages:
        raise InvalidInput("packages", packages, "at least one package")
    lines = ["# Attribution", "", "The training pictures were made from these works.", ""]
    lines += ["| Package | Version | Licence | Credit | Used for |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {p.name} | {p.version} | {p.licence} | {p.holder} | {p.use} |" for p in packages]
    lines += ["", "The pictures were resized, recoloured and composed into new scenes."]
    return "\n".join(lines) + "\n"


def _npm_pack(package: Package, cache: Path) -> None:
    command = ["npm", "pack", f"{package.name}@{package.version}", "--silent"]
    try:
        subprocess.run(command, cwd=cache, check=True, capture_output=True, timeout=600)
    except FileNotFoundError as error:
        raise DownloadFailed("npm was not found.", hint="Install Node.js, which brings npm.") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        detail = error.stderr.decode(errors="replace").strip()[-300:] if error.stderr else "no answer"
        raise DownloadFailed(f"npm could not fetch {package.name} {package.version}: {detail}") from error
