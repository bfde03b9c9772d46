"""From what a client typed to the prompt the model was trained on: `segment {thing} ; {thing}`."""

from __future__ import annotations

import re
import unicodedata

from shared.errors import InvalidField

TASK = "segment"
SEPARATOR = " ; "
MAX_PROMPT_CHARS = 512
"""Longest prompt, as sent."""

_SPECIAL_TOKEN = re.compile(
    r"<\s*/?\s*(loc\d+|seg\d+|image|bos|eos|pad|unk|mask|unused\d+|start_of_turn|end_of_turn)\s*>", re.I
)
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def normalize_prompt(text: str) -> str:
    """Return the prompt in the model's form: `cat;dog` and `segment cat ; dog` both give `segment cat ; dog`.

    Raises:
        InvalidField: empty, longer than `MAX_PROMPT_CHARS`, holds control characters, or spells out tokens of the model
            (a location token in a prompt would be read as one).
    """
    if len(text) > MAX_PROMPT_CHARS:
        raise InvalidField(f"prompt: {len(text)} characters; at most {MAX_PROMPT_CHARS} are allowed")
    text = unicodedata.normalize("NFKC", text)
    if len(text) > MAX_PROMPT_CHARS:
        raise InvalidField(
            f"prompt: {len(text)} characters in their plain form; at most {MAX_PROMPT_CHARS} are allowed"
        )
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text if not character.isspace()):
        raise InvalidField("prompt: holds control or unassigned characters")
    if token := _SPECIAL_TOKEN.search(text):
        raise InvalidField(f"prompt: {token.group()} is a token of the model and cannot be asked for")
    things = [" ".join(thing.split()) for thing in re.sub(rf"^\s*{TASK}\s+", "", text, flags=re.I).split(";")]
    things = [thing for thing in things if thing]
    if not things or things == [TASK]:
        raise InvalidField("prompt: says nothing to segment; try `cat` or `cat ; dog`")
    return f"{TASK} {SEPARATOR.join(things)}"


def things_asked(prompt: str) -> list[str]:
    """The phrases of a normalized prompt: `segment cat ; dog` -> `["cat", "dog"]`."""
    return prompt.removeprefix(f"{TASK} ").split(SEPARATOR)
