"""What a client sends for its own use, to get it back with the job: metadata, a reference, the name of a file."""

from __future__ import annotations

import json
import re
import unicodedata
from urllib.parse import unquote, urlsplit

from api.submission.json_object import with_unique_names
from shared.domain.job import MAX_FILE_NAME_CHARS, MAX_METADATA_BYTES, MAX_REF_CHARS
from shared.domain.text import without_format_characters
from shared.errors import MalformedRequest

MAX_TAG_CHARS = 100
"""Longest name of a tag in Label Studio."""
_MAX_DEPTH = 8
_UNPRINTABLE = frozenset({"Cc", "Cs"})
_MAX_PATH_CHARS = 4_096


def read_metadata(value: object) -> str:
    """A JSON object, or in a form its text -> its text, in the shortest form.

    Raises:
        ValueError: it is not a JSON object, is too long or too deep, or has what JSON cannot write.
    """
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004  pydantic collects ValueErrors only
    if _is_deeper(value, _MAX_DEPTH):
        raise ValueError(f"must not be nested deeper than {_MAX_DEPTH} levels")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except ValueError:
        raise ValueError("has a number or a character that JSON cannot write") from None
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"has {size:,} bytes as JSON; at most {MAX_METADATA_BYTES:,} are allowed")
    return text


def _parsed(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=with_unique_names)
    except MalformedRequest as error:
        raise ValueError(error.detail) from None
    except (ValueError, RecursionError):
        raise ValueError("must be a JSON object; this is not JSON") from None


def _is_deeper(value: object, levels: int) -> bool:
    """Whether more than this many objects and lists are nested. Looks no deeper than that."""
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(
        _is_deeper(each, levels - 1) for each in (value.values() if isinstance(value, dict) else value)
    )


def read_ref(text: str) -> str:
    """A short text of the client's.

    Raises:
        ValueError: it is too long, or has control characters.
    """
    if len(text) > MAX_REF_CHARS:
        raise ValueError(f"has {len(text)} characters; at most {MAX_REF_CHARS} are allowed")
    if any(unicodedata.category(each) in _UNPRINTABLE for each in text):
        raise ValueError("contains control characters")
    return text


def read_tag_name(text: str) -> str:
    """The name of a tag in a labeling configuration.

    Raises:
        ValueError: it is empty or too long, or has characters that nobody sees.
    """
    if not 0 < len(text) <= MAX_TAG_CHARS:
        raise ValueError(f"must have 1 to {MAX_TAG_CHARS} characters")
    if not text.isprintable():
        raise ValueError("contains control characters")
    return text


def base_name(path: str) -> str:
    """The name of a file without its folders: what other programs may use as a name. Empty if there is none.

    Control characters, characters that nobody sees and `: * ? " < > |` are dropped or replaced. Of a long name, the
    middle is left out: its ending says what kind of file it is.
    """
    name = re.split(r"[/\\]", path[-_MAX_PATH_CHARS:])[-1]
    name = "".join(
        each
        for each in without_format_characters(name)
        if unicodedata.category(each)[0] != "C" or each in "\u200c\u200d"
    )
    name = re.sub(r'[:*?"<>|]', "_", name).strip(" ")
    if not name.strip(". "):
        return ""
    _, dot, ending = name.rpartition(".")
    kept = f"{dot}{ending}" if len(ending) <= 8 else ""
    return name if len(name) <= MAX_FILE_NAME_CHARS else name[: MAX_FILE_NAME_CHARS - len(kept)] + kept


def name_in_url(url: str) -> str:
    """The name of the file that a URL names by its last part; empty if that is none. A `data:` URL names none."""
    try:
        parts = urlsplit(url.strip())
        return base_name(unquote(parts.path.rpartition("/")[2])) if parts.netloc else ""
    except ValueError:
        return ""
