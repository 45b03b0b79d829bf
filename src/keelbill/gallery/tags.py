"""What a tag may be. Knows no pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from keelbill.core.errors import InvalidRequest

MAX_TAGS: Final = 32
_TAG: Final = re.compile(r"[^\s,][^,\n\r\t]{0,62}[^\s,]|[^\s,]")


def checked_tags(tags: Iterable[str]) -> list[str]:
    """Return tags in order, each once, with single spaces.

    Raises:
        InvalidRequest: There are more than 32, or one is empty, longer than 64 characters or has a comma.
    """
    wanted = sorted({" ".join(tag.split()) for tag in tags})
    if len(wanted) > MAX_TAGS or not all(_TAG.fullmatch(tag) for tag in wanted):
        raise InvalidRequest(f"tags: at most {MAX_TAGS} of 1 to 64 characters each, without commas")
    return wanted
