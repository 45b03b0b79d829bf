"""Fetches files from the model hub, resumable, by their published hashes. The only module that imports its library."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Protocol

from keelbill.core.errors import DownloadFailed

AGAIN = "What has arrived is kept; pull again to continue."


@dataclass(frozen=True)
class RemoteFile:
    """A file as its source describes it.

    Args:
        path: Inside the repository, with ``/``.
        size: In bytes.
        sha256: Of a large file; empty if the source does not publish it.
        git_hash: Object name of a small file in the repository; empty if not published.
    """

    path: str
    size: int
    sha256: str = ""
    git_hash: str = ""


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one revision."""

    repo: str
    revision: str
    files: tuple[RemoteFile, ...]


class Remote(Protocol):
    """A place that models are fetched from."""

    def listing(self, repo: str) -> Listing:
        """List a repository's files.

        Raises:
            DownloadFailed: It cannot be reached, does not exist, or asks for a token or an agreement.
        """
        ...

    def download(self, listing: Listing, file: RemoteFile, folder: Path) -> Path:
        """Fetch one file to the same relative path below `folder`, continuing an interrupted download.

        Raises:
            DownloadFailed: It cannot be fetched.
        """
        ...


class HuggingFace:
    """The Hugging Face hub.

    Args:
        token: Access token; empty means what the environment or an earlier login offers.
        endpoint: Address of the hub; empty means the library's.
    """

    def __init__(self, token: str = "", endpoint: str = "") -> None:
        self._token = token or None
        self._endpoint = endpoint or None

    def listing(self, repo: str) -> Listing:
        """List a repository's files; see `Remote`."""
        if find_spec("huggingface_hub") is None:
            raise DownloadFailed(
                "Fetching models needs huggingface_hub.", hint='Install it: pip install "keelbill[server]".'
            )
        from huggingface_hub import HfApi

        with self._explained(repo):
            info = HfApi(endpoint=self._endpoint, token=self._token).model_info(repo, files_metadata=True)
        files = tuple(
            RemoteFile(
                path=file.rfilename,
                size=file.size or 0,
                sha256=file.lfs.sha256 if file.lfs else "",
                git_hash="" if file.lfs else file.blob_id or "",
            )
            for file in info.siblings or ()
            if _is_plain(file.rfilename)
        )
        return Listing(repo, info.sha or "main", files)

    def download(self, listing: Listing, file: RemoteFile, folder: Path) -> Path:
        """Fetch one file; see `Remote`."""
        from huggingface_hub import hf_hub_download

        with self._explained(listing.repo):
            path = hf_hub_download(
                listing.repo,
                file.path,
                revision=listing.revision,
                local_dir=folder,
                token=self._token,
                endpoint=self._endpoint,
            )
        return Path(path)

    @contextmanager
    def _explained(self, repo: str) -> Iterator[None]:
        """Turn the library's errors into sentences that say what to do."""
        from huggingface_hub import constants, errors

        # The library changed its HTTP client between versions; its own error has the client's as its first base.
        transport_error: type[Exception] = errors.HfHubHTTPError.__bases__[0]
        page = f"{self._endpoint or constants.ENDPOINT}/{repo}"
        try:
            yield
        except errors.GatedRepoError as error:
            raise DownloadFailed(
                f"{repo} is given only to people who accept its licence.",
                hint=f"Sign in at {page}, accept the licence there, make an access token, set KEELBILL_HF_TOKEN to it, "
                "and pull again.",
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise DownloadFailed(
                f"{repo} does not exist or is not shown to you.",
                hint=f"If you can see {page} when signed in, set KEELBILL_HF_TOKEN to your access token.",
            ) from error
        except errors.LocalEntryNotFoundError as error:
            raise DownloadFailed(f"{repo} cannot be reached.", hint=f"Is this machine online? {AGAIN}") from error
        except errors.EntryNotFoundError as error:
            raise DownloadFailed(f"A file of {repo} is no longer there: {error}.") from error
        except errors.HfHubHTTPError as error:
            status = error.response.status_code
            raise DownloadFailed(
                f"{repo} cannot be fetched: the hub answered {status}.", hint="Pull again later."
            ) from error
        except (transport_error, errors.HFValidationError, OSError) as error:
            raise DownloadFailed(f"{repo} cannot be fetched: {error}.", hint=AGAIN) from error


def _is_plain(name: str) -> bool:
    """Say whether a path stays inside the folder that it is put in."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_hash_of(path: Path) -> str:
    """Return the object name that a small file has in a git repository (SHA-1, which the hub publishes for those)."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
