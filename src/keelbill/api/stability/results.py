"""Names of results that clients poll for: 64 hex digits that only work with the key that made them. Knows no tables."""

from __future__ import annotations

import hashlib
import re

from keelbill.core.errors import NotFound
from keelbill.core.principal import Principal

_NAME = re.compile(r"[0-9a-f]{64}")


def result_name(principal: Principal, job_id: str) -> str:
    """Return the public name of a job's result.

    Args:
        principal: Who asked for it.
        job_id: 32 hex digits.
    """
    return job_id + _tag(principal, job_id)


def job_of(principal: Principal, name: str) -> str:
    """Return the job behind a result's name.

    Raises:
        NotFound: The name is none, or another key made it.
    """
    if not _NAME.fullmatch(name) or name[32:] != _tag(principal, name[:32]):
        raise NotFound("id: no result with this id")
    return name[:32]


def _tag(principal: Principal, job_id: str) -> str:
    owner = principal.key_id or principal.org_id
    return hashlib.sha256(f"keelbill result {job_id} {owner}".encode()).hexdigest()[:32]
