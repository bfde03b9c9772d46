"""From the text of a client to a prompt in the form that the model was trained on: `segment cat ; dog`."""

from __future__ import annotations

import re
import unicodedata

from shared.domain.paligemma import RESERVED_TOKEN, TASK, write_prompt
from shared.errors import InvalidField

MAX_PROMPT_CHARS = 512
"""Maximum length of a prompt, as sent."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def normalize_prompt(text: str) -> str:
    """Return the prompt in the model's form: `cat;dog` and `segment cat ; dog` both give `segment cat ; dog`.

    Raises:
        InvalidField: the prompt is empty, is longer than `MAX_PROMPT_CHARS`, contains control characters, or contains
            a token of the model (the tokenizer would read `<loc0001>` in a prompt as a location).
    """
    if len(text) > MAX_PROMPT_CHARS:
        raise InvalidField(f"prompt: {len(text)} characters; at most {MAX_PROMPT_CHARS} are allowed")
    text = unicodedata.normalize("NFKC", text)
    if len(text) > MAX_PROMPT_CHARS:
        raise InvalidField(
            f"prompt: {len(text)} characters after Unicode normalization; at most {MAX_PROMPT_CHARS} are allowed"
        )
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text if not character.isspace()):
        raise InvalidField("prompt: contains control or unassigned characters")
    if token := RESERVED_TOKEN.search(text):
        raise InvalidField(f"prompt: {token.group()} is a token of the model and is not allowed")
    phrases = [" ".join(phrase.split()) for phrase in re.sub(rf"^\s*{TASK}\s+", "", text, flags=re.I).split(";")]
    phrases = [phrase for phrase in phrases if phrase]
    if not phrases or phrases == [TASK]:
        raise InvalidField("prompt: names nothing to segment; try `cat` or `cat ; dog`")
    return write_prompt(phrases)
