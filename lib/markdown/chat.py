"""Chat messages: their roles, their texts, and their other fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import Text, characters_in, decoded, is_text, utf8

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROLE_CHARACTERS: Final = 1000
_PROMPT_BYTES: Final = 1 << 22


def is_chat(value: Any) -> bool:
    """Tell whether an item is a list of chat messages: dicts with a content, and a role that is text."""
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    role = value.get("role") if isinstance(value, dict) else None
    return isinstance(role, str) and len(role) <= _ROLE_CHARACTERS and "content" in value


def texts_of(content: Any) -> list[Text]:
    """Return the texts of a message's content: the content itself, or its parts if all are text; else none.

    >>> texts_of([{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]), texts_of(None)
    (['Hi', 'there'], [])
    """
    if is_text(content):
        return [content]
    if isinstance(content, list) and all(map(_is_text_part, content)):
        return [part["text"] for part in content]
    return []


def rest_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a message that are neither its role, nor its texts, nor None."""
    shown = {"role", "content"} if texts_of(message["content"]) else {"role"}
    return {key: value for key, value in message.items() if key not in shown and value is not None}


def prompt_of(full_text: Any, completion: Any) -> Any:
    """Return the prompt that a full text begins with: a text or messages; None if there is none.

    Either may be a text, chat messages, or a list of samples of one prompt.

    >>> prompt_of("1 + 1 = 2", "2"), prompt_of("1 + 1 = 3", "2")
    ('1 + 1 = ', None)
    """
    if is_text(full_text):
        answer = completion if is_text(completion) else _text_of(completion)
        return None if answer is None else _before(full_text, answer)
    if not isinstance(full_text, list):
        return None
    if is_chat(full_text):
        return _messages_before(full_text, completion)
    if not isinstance(completion, list) or len(completion) != len(full_text) or not completion:
        return None
    prompts = list(map(prompt_of, full_text, completion))
    return prompts[0] if all(prompt == prompts[0] for prompt in prompts) else None


def characters_of(prompt: Any) -> int:
    """Count the characters of a prompt: of a text, or of the texts of messages."""
    if isinstance(prompt, str):
        return len(prompt)
    return sum(characters_in(text) for message in prompt for text in texts_of(message["content"]))


def _messages_before(chat: list[Any], completion: Any) -> list[Any] | None:
    if is_text(completion):
        *earlier, last = chat
        text = _text_of([last])
        if text == completion:
            return earlier or None
        begin = _before(text or "", completion)  # the prompt began the message that the model completed
        return None if begin is None else [*earlier, {**last, "content": begin}]
    answer = [completion] if isinstance(completion, dict) else completion
    if not is_chat(answer) or chat[-len(answer) :] != answer:
        return None
    return chat[: -len(answer)] or None


def _text_of(answer: Any) -> Text | None:
    """Return the text of a message, or of the only one in a list; None for anything else."""
    messages = [answer] if isinstance(answer, dict) else answer
    if not is_chat(messages) or len(messages) > 1:
        return None
    texts = texts_of(messages[0]["content"])
    return texts[0] if len(texts) == 1 else "".join(map(decoded, texts)) if texts else None


def _before(text: Text, tail: Text) -> str | None:
    """Return what stands before the tail of a text; None if that is nothing, or the text ends otherwise."""
    if isinstance(text, bytes) or isinstance(tail, bytes):
        data, end = utf8(text), utf8(tail)
        if not data.endswith(end) or len(data) - len(end) > _PROMPT_BYTES:
            return None
        return data[: len(data) - len(end)].decode("utf-8", "surrogatepass") or None
    return text[: len(text) - len(tail)] or None if text.endswith(tail) else None


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and set(part) == {"type", "text"} and is_text(part["text"])
