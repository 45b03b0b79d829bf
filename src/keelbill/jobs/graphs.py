"""What the book asks of whoever keeps the outputs and the history of graphs. Knows no graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from keelbill.jobs.schemas import State


@dataclass(frozen=True)
class KeptFile:
    """A picture that a graph saved.

    Attributes:
        blob_ref: Of its bytes.
        media_type: Such as ``image/png``.
        size_bytes: Of the file.
        width: In pixels.
        height: In pixels.
        thumb_ref: Of a small form for lists, "" if there is none yet.
    """

    blob_ref: str
    media_type: str
    size_bytes: int
    width: int
    height: int
    thumb_ref: str = ""


class GraphRuns(Protocol):
    """Keeps what graphs put out."""

    async def settled(self, job_id: str) -> None:
        """Return when everything that was heard of a run's outputs so far is stored.

        Raises:
            DiskFull: It cannot be stored.
        """
        ...

    def kept(self, connection: Connection, job_id: str) -> Sequence[KeptFile]:
        """Return the pictures that a run saved, in order."""
        ...

    def ended(self, connection: Connection, job_id: str, state: State, code: str, message: str, detail: str) -> None:
        """Write down how a run ended, in the transaction that ends its job.

        Args:
            connection: Of the transaction.
            job_id: Of the run.
            state: ``succeeded``, ``failed`` or ``cancelled``.
            code: An error's code, "" for a success.
            message: One sentence for the user.
            detail: JSON with the node that failed, or "".
        """
        ...
