"""Questions about a scene and their answers, as phrases and object numbers."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from scenes.layout import COLOR_NAMES, lattice_location
from scenes.outlines import KINDS
from training.pool import NO_OBJECT
from training.tokenizer import FOREIGN_WORDS

Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.int8]

ABSENT_SHARE = 0.22
TWO_PHRASES_SHARE = 0.10
"""When measuring; training asks for two things more often, because it is harder."""
PHRASE_FORMS = (0.6, 0.2, 0.2)
"""How often an object is asked for by colour and kind, by kind alone, by colour alone."""


@dataclass(frozen=True)
class SceneNames:
    """What can be asked about a view of a scene: int8[5] kinds and colours, -1 for none; float32[5, 4] boxes, 0..1."""

    kinds: Bytes
    colors: Bytes
    boxes: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return int((self.kinds != NO_OBJECT).sum())

    def name(self, index: int) -> tuple[str, str]:
        """Colour and kind of an object."""
        return COLOR_NAMES[self.colors[index]], KINDS[self.kinds[index]]

    def matching(self, phrase: str) -> list[int]:
        """Objects that ``phrase`` names, from the top down, then from the left."""
        found = [
            index
            for index in range(len(self))
            for color, kind in [self.name(index)]
            if phrase in (f"{color} {kind}", kind, color)
        ]
        return sorted(found, key=lambda index: [lattice_location(edge) for edge in self.boxes[index, :2]])


def choose_phrases(
    names: SceneNames, random: np.random.Generator, two_phrases_share: float = TWO_PHRASES_SHARE
) -> list[str]:
    """One phrase to ask for, now and then two; about a fifth of them name nothing in the scene."""
    if random.random() < two_phrases_share:
        first, second = _present(names, random), _one(names, random)
        return [first, second] if first != second else [first]
    return [_one(names, random)]


def _one(names: SceneNames, random: np.random.Generator) -> str:
    return _absent(names, random) if random.random() < ABSENT_SHARE else _present(names, random)


def _present(names: SceneNames, random: np.random.Generator) -> str:
    color, kind = names.name(int(random.integers(len(names))))
    return (f"{color} {kind}", kind, color)[random.choice(3, p=PHRASE_FORMS)]


def _absent(names: SceneNames, random: np.random.Generator) -> str:
    """A phrase that names nothing here; half of them name a colour and a kind that are there, but not together."""
    while True:
        phrase = _tempting(names, random)
        if not names.matching(phrase):
            return phrase


def _tempting(names: SceneNames, random: np.random.Generator) -> str:
    color, kind = COLOR_NAMES[random.integers(len(COLOR_NAMES))], KINDS[random.integers(len(KINDS))]
    here_color, here_kind = names.name(int(random.integers(len(names))))
    other_color, _ = names.name(int(random.integers(len(names))))
    foreign = FOREIGN_WORDS[random.integers(len(FOREIGN_WORDS))]
    forms = (
        (0.25, f"{other_color} {here_kind}"),
        (0.15, f"{color} {here_kind}"),
        (0.15, f"{here_color} {kind}"),
        (0.08, f"{color} {kind}"),
        (0.08, kind),
        (0.08, color),
        (0.07, foreign),
        (0.05, f"{here_color} {foreign}"),
        (0.05, f"{foreign} {here_kind}"),
        (0.04, _misspelt(here_kind, random)),
    )
    return forms[random.choice(len(forms), p=[share for share, _ in forms])][1]


def _misspelt(word: str, random: np.random.Generator) -> str:
    """``word`` with one letter changed for another."""
    place, letter = int(random.integers(len(word))), "abcdefghijklmnopqrstuvwxyz"[random.integers(26)]
    return word[:place] + letter + word[place + 1 :]
