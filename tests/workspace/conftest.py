"""A workspace on both databases, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keelbill.db.base import Database
from keelbill.storage.blobs import BlobStore
from keelbill.workspace.runs import Runs
from keelbill.workspace.schemas import Account, Limits
from keelbill.workspace.service import Workspace
from support.identities import HandClock

MakeWorkspace = Callable[..., Workspace]


@pytest.fixture
def clock() -> HandClock:
    """The time, which stands still."""
    return HandClock()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """Where bytes are kept."""
    return BlobStore(tmp_path / "blobs", delete_grace_s=0.0)


@pytest.fixture
def open_workspace(database: Database, blobs: BlobStore, clock: HandClock) -> MakeWorkspace:
    """Open a workspace with limits of one's own."""
    return lambda **limits: Workspace(database, blobs, clock, Limits(**limits))


@pytest.fixture
def workspace(open_workspace: MakeWorkspace) -> Workspace:
    """A workspace with the usual limits."""
    return open_workspace()


@pytest.fixture
def runs(database: Database, workspace: Workspace, clock: HandClock) -> Runs:
    """The runs of the workspace."""
    return Runs(database, workspace, clock)


@pytest.fixture
def ada() -> Account:
    """Somebody."""
    return Account("a" * 32, "1" * 32)


@pytest.fixture
def bob() -> Account:
    """Somebody else, of the same organisation as nobody."""
    return Account("b" * 32, "2" * 32)
