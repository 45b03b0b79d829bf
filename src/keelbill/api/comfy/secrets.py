"""Takes secrets out of what a client sends, before anything of it is stored, logged or painted into pictures."""

from __future__ import annotations

from typing import Any, Final

KEY_INPUT: Final = "api_key_override"
SECRETS: Final = frozenset({KEY_INPUT, "auth_token_comfy_org", "api_key_comfy_org"})


def typed_keys(prompt: Any) -> list[str]:
    """Return the keys that somebody typed into nodes, in the order of the graph."""
    nodes = prompt.values() if isinstance(prompt, dict) else ()
    inputs = [node.get("inputs") for node in nodes if isinstance(node, dict)]
    given = [each.get(KEY_INPUT) for each in inputs if isinstance(each, dict)]
    return [key.strip() for key in given if isinstance(key, str) and key.strip()]


def without_secrets(value: Any, keys: list[str]) -> Any:
    """Return a JSON value without the fields that hold secrets, and with typed keys blanked wherever they stand.

    Workflows of the editor hold the values of fields in lists without names, so a key is also found by itself.
    """
    hidden = frozenset(keys)
    if isinstance(value, dict):
        return {
            name: "" if name == KEY_INPUT else without_secrets(item, keys)
            for name, item in value.items()
            if name not in SECRETS or name == KEY_INPUT
        }
    if isinstance(value, list):
        return [without_secrets(item, keys) for item in value]
    return "" if isinstance(value, str) and value.strip() in hidden else value
