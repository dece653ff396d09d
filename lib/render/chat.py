"""Chat messages: what of an item is a role, what a text, and what is neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_chat(value: Any) -> bool:
    """Tell whether an item is a list of chat messages: dicts with a content, and a role that is text."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(message, dict) and isinstance(message.get("role"), str) and "content" in message
            for message in value
        )
    )


def texts_of(content: Any) -> list[str]:
    """Return the texts of a message's content: itself, or its parts if all are text; else none.

    >>> texts_of([{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]), texts_of(None)
    (['Hi', 'there'], [])
    """
    if isinstance(content, str):
        return [content]
    if isinstance(content, list) and all(map(_is_text_part, content)):
        return [part["text"] for part in content]
    return []


def rest_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a message has besides its role and its texts, as far as it is not None."""
    shown = {"role", "content"} if texts_of(message["content"]) else {"role"}
    return {key: value for key, value in message.items() if key not in shown and value is not None}


def text_of_chat(value: Any) -> str | None:
    """Return what the last message of a chat says; None for anything but text."""
    if not is_chat(value):
        return None
    texts = texts_of(value[-1]["content"])
    return "".join(texts) if texts else None


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and set(part) == {"type", "text"} and isinstance(part["text"], str)
