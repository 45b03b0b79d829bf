"""What can go wrong with pictures in the history. Knows no tables."""

from __future__ import annotations

from keelbill.core.errors import NotFound


class NoSuchPicture(NotFound):
    """There is no such picture, or it belongs to somebody else."""


class NoSuchAlbum(NotFound):
    """There is no such album, or it belongs to somebody else."""


class NoSuchUpload(NotFound):
    """There is no such upload, it is past its time, or it belongs to somebody else."""
