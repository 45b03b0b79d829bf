"""What can be wrong with the files and runs of an account."""

from __future__ import annotations

from keelbill.core.errors import Conflict, InvalidInput, NotFound


class BadName(InvalidInput):
    """A file's name or folder that is not taken."""

    code = "invalid_name"


class NoSuchFile(NotFound):
    """There is no such file, or it belongs to somebody else."""


class NameTaken(Conflict):
    """There is a file of this name already."""


class QuotaFull(Conflict):
    """The account keeps as much as it may."""

    code = "quota_exceeded"


class NoSuchRun(NotFound):
    """There is no such run, or it belongs to somebody else."""


class RunExists(Conflict):
    """A run of this id was submitted before."""
