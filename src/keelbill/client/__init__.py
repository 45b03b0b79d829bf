"""The Python SDK. Imports nothing of the server."""

from keelbill.client.accounts import Account, Engine, Organisation
from keelbill.client.aclient import AsyncClient
from keelbill.client.client import Client
from keelbill.client.errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ConnectionFailedError,
    DeadlineExceededError,
    InsufficientCreditsError,
    KeelbillError,
    ModerationError,
    NotFoundError,
    NotInstalledError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TooLargeError,
    UnavailableError,
    UnexpectedAnswerError,
    UnprocessableError,
)
from keelbill.client.events import Cancelled, Done, Event, Progress, Queued, Retrying, Started
from keelbill.client.pictures import ImageSource, Picture, recipe_of
from keelbill.client.repeat import OtherModelWarning
from keelbill.client.retries import Retries
from keelbill.client.target import KeyTidiedWarning
from keelbill.client.workflows import PricedNode, WorkflowOutput, WorkflowPrice, WorkflowRun, WorkflowSource

__all__ = [
    "Account",
    "AsyncClient",
    "AuthenticationError",
    "BadRequestError",
    "Cancelled",
    "Client",
    "ConflictError",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "Done",
    "Engine",
    "Event",
    "ImageSource",
    "InsufficientCreditsError",
    "KeelbillError",
    "KeyTidiedWarning",
    "ModerationError",
    "NotFoundError",
    "NotInstalledError",
    "Organisation",
    "OtherModelWarning",
    "PermissionDeniedError",
    "Picture",
    "PricedNode",
    "Progress",
    "Queued",
    "RateLimitError",
    "Retries",
    "Retrying",
    "ServerError",
    "Started",
    "TooLargeError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UnprocessableError",
    "WorkflowOutput",
    "WorkflowPrice",
    "WorkflowRun",
    "WorkflowSource",
    "recipe_of",
]
