"""Models that are fetched beside other work: one at a time, with progress, stopped and continued."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from keelbill.core.errors import Conflict, DownloadFailed, NotFound, UnknownModel
from keelbill.storage.catalogue import CATALOGUE
from keelbill.storage.hub import Hub
from keelbill.storage.pulls import Pull, Pulls
from keelbill.storage.remote import Listing, RemoteFile

NAME = "sd3.5-medium"
CONTENT = b"w" * 4096


class SlowRemote:
    """A source that sends each file when a test lets it."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.problem: Exception | None = None

    def listing(self, repo: str) -> Listing:
        """List exactly what the catalogue wants from a repository."""
        wanted = [one for one in CATALOGUE.get(NAME).wanted("none") if one.repo == repo]
        names = [name for one in wanted for name in one.files]
        names += [f"{folder}/vocab.json" for one in wanted for folder in one.folders]
        return Listing(repo, "main", tuple(RemoteFile(name, len(CONTENT)) for name in names))

    def download(self, listing: Listing, file: RemoteFile, folder: Path) -> Path:
        """Write a file once a test lets it."""
        assert self.go.acquire(timeout=60)
        if self.problem is not None:
            raise self.problem
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
        return path


@pytest.fixture
def remote() -> SlowRemote:
    return SlowRemote()


@pytest.fixture
def pulls(remote: SlowRemote, tmp_path: Path) -> Pulls:
    return Pulls(Hub(tmp_path, remote))


def until(pulls: Pulls, state: str) -> Pull:
    """Wait until the only pull is in a state."""
    deadline = time.monotonic() + 10
    while (found := pulls.all()[0]).state != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.005)
    return found


def test_a_model_that_the_catalogue_does_not_have(pulls: Pulls) -> None:
    with pytest.raises(UnknownModel):
        pulls.start("nothing")
    assert pulls.all() == []


def test_a_second_pull_while_one_runs(pulls: Pulls, remote: SlowRemote) -> None:
    pulls.start(NAME, t5="none")
    with pytest.raises(Conflict, match=NAME):
        pulls.start("sd3.5-large")
    pulls.stop(NAME)
    remote.go.release(100)
    until(pulls, "stopped")


def test_progress_and_the_end(pulls: Pulls, remote: SlowRemote, tmp_path: Path) -> None:
    begun = pulls.start(NAME, t5="none")
    assert (begun.state, begun.expected_bytes) == ("running", CATALOGUE.get(NAME).expected_bytes("none"))
    remote.go.release()
    deadline = time.monotonic() + 10
    while (found := pulls.all()[0]).file_number < 2:
        assert time.monotonic() < deadline, found
        time.sleep(0.005)
    assert found.arrived_bytes == len(CONTENT)
    assert found.files == 5
    remote.go.release(100)
    done = until(pulls, "done")
    assert done.arrived_bytes == done.expected_bytes == 5 * len(CONTENT)
    assert Hub(tmp_path).get(NAME).is_there


def test_stopped_and_continued(pulls: Pulls, remote: SlowRemote, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        pulls.stop(NAME)
    pulls.start(NAME, t5="none")
    pulls.stop(NAME)
    remote.go.release(100)
    until(pulls, "stopped")
    with pytest.raises(UnknownModel):
        Hub(tmp_path).get(NAME)
    pulls.start(NAME, t5="none")
    assert until(pulls, "done").problem == ""


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (DownloadFailed("owner/name asks for a token.", hint="Set hf_token."), "asks for a token. Set hf_token."),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_went_wrong_is_said(pulls: Pulls, remote: SlowRemote, problem: Exception, said: str) -> None:
    remote.problem = problem
    remote.go.release(100)
    pulls.start(NAME, t5="none")
    assert said in until(pulls, "failed").problem
