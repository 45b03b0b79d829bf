"""Turns services into methods of the two clients, so that each service is written once. Knows no service."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def looks_like(service: Callable[..., Any], method: F) -> F:
    """Give a method the name, the description and the signature of the service that it runs."""
    signature = inspect.signature(service)
    shown = str(signature.return_annotation).removeprefix("Exchange[").removesuffix("]")
    caller = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [caller, *signature.parameters.values()]
    method.__name__ = service.__name__
    method.__qualname__ = service.__qualname__
    method.__doc__ = service.__doc__
    method.__module__ = service.__module__
    method.__dict__["__signature__"] = signature.replace(parameters=parameters, return_annotation=shown)
    return method
