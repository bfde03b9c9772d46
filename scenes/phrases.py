"""Phrases that ask for objects of a scene, and which objects each phrase names."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from scenes.layout import lattice_location
from scenes.vocabulary import NO_COLOR, Vocabulary, names_of

Bytes: TypeAlias = npt.NDArray[np.int8]

NO_OBJECT = -1
"""Fills arrays over objects where a scene has fewer than five, and where an object has no colour name."""
ABSENT_SHARE = 0.22
TWO_PHRASES_SHARE = 0.10
"""In evaluation. Training asks for two things more often, because they are harder."""
FORM_PROBABILITIES = (0.6, 0.2, 0.2)
"""Probability of asking by colour and kind, by kind alone, by colour alone."""

FOREIGN_WORDS = (
    "zebra", "hexagon", "pink", "brown", "dog", "cat", "car", "house", "wheel", "left", "right", "person", "tree",
    "cloud", "oval", "rectangle", "pentagon", "cube", "arrow", "moon", "sun", "flower", "grey", "gray", "cyan",
    "teal", "gold", "silver", "bird", "fish", "boat", "chair", "table", "bottle", "cup", "apple", "banana", "the",
    "a", "of", "big", "small", "large", "tiny", "crescent", "spiral", "octagon", "line", "dot", "ball", "box",
    "ellipse", "trapezoid", "sheep", "horse", "bus", "train", "bicycle", "phone", "book", "lamp",
)  # fmt: skip
"""Words that no scene contains: they give the tokenizer more pieces, and the model prompts with an empty answer."""


@dataclass(frozen=True)
class SceneNames:
    """Names and boxes of the objects in one view of a scene: int8[5] kinds and colors, -1 where there is no object."""

    kinds: Bytes
    """Index into the kinds of the vocabulary."""
    colors: Bytes
    """Index into the colours of the vocabulary; -1 in all places if it has none."""
    boxes: npt.NDArray[np.float32]
    """float32[5, 4]: y0, x0, y1, x1 in 0..1."""
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return int((self.kinds != NO_OBJECT).sum())

    def name(self, index: int) -> tuple[str, str]:
        """Colour and kind of an object. The colour is NO_COLOR if the vocabulary has none."""
        kind = self.vocabulary.kinds[self.kinds[index]]
        return (self.vocabulary.colors[self.colors[index]] if self.vocabulary.has_colors else NO_COLOR), kind

    def matching(self, phrase: str) -> list[int]:
        """Indices of the objects that ``phrase`` names, from top to bottom, then from left to right."""
        found = [index for index in range(len(self)) if phrase in names_of(*self.name(index))]
        return sorted(found, key=lambda index: [lattice_location(edge) for edge in self.boxes[index, :2]])


def choose_phrases(
    names: SceneNames, random: np.random.Generator, two_phrases_share: float = TWO_PHRASES_SHARE
) -> list[str]:
    """Choose one phrase to ask for, sometimes two. About a fifth of the phrases name nothing in the scene."""
    if random.random() < two_phrases_share:
        first, second = _present(names, random), _any(names, random)
        return [first, second] if first != second else [first]
    return [_any(names, random)]


def _any(names: SceneNames, random: np.random.Generator) -> str:
    return _absent(names, random) if random.random() < ABSENT_SHARE else _present(names, random)


def _present(names: SceneNames, random: np.random.Generator) -> str:
    color, kind = names.name(int(random.integers(len(names))))
    return kind if color == NO_COLOR else names_of(color, kind)[random.choice(3, p=FORM_PROBABILITIES)]


def _absent(names: SceneNames, random: np.random.Generator) -> str:
    """A phrase that names nothing in the scene. With colours, half of them combine those of two different objects."""
    candidate = _colored_candidate if names.vocabulary.has_colors else _plain_candidate
    while True:
        phrase = candidate(names, random)
        if not names.matching(phrase):
            return phrase


def _plain_candidate(names: SceneNames, random: np.random.Generator) -> str:
    """A kind that is probably not in the scene, a foreign word, or a misspelt kind of the scene."""
    _, scene_kind = names.name(int(random.integers(len(names))))
    share = random.random()
    if share < 0.8:
        return names.vocabulary.kinds[random.integers(len(names.vocabulary.kinds))]
    return FOREIGN_WORDS[random.integers(len(FOREIGN_WORDS))] if share < 0.95 else _misspelt(scene_kind, random)


def _colored_candidate(names: SceneNames, random: np.random.Generator) -> str:
    """A phrase that probably names nothing in the scene. Each comes with its probability."""
    colors, kinds = names.vocabulary.colors, names.vocabulary.kinds
    color, kind = colors[random.integers(len(colors))], kinds[random.integers(len(kinds))]
    scene_color, scene_kind = names.name(int(random.integers(len(names))))
    other_color, _ = names.name(int(random.integers(len(names))))
    foreign = FOREIGN_WORDS[random.integers(len(FOREIGN_WORDS))]
    forms = (
        (0.25, f"{other_color} {scene_kind}"),
        (0.15, f"{color} {scene_kind}"),
        (0.15, f"{scene_color} {kind}"),
        (0.08, f"{color} {kind}"),
        (0.08, kind),
        (0.08, color),
        (0.07, foreign),
        (0.05, f"{scene_color} {foreign}"),
        (0.05, f"{foreign} {scene_kind}"),
        (0.04, _misspelt(scene_kind, random)),
    )
    return forms[random.choice(len(forms), p=[probability for probability, _ in forms])][1]


def _misspelt(word: str, random: np.random.Generator) -> str:
    """``word`` with one letter replaced by a random one."""
    position, letter = int(random.integers(len(word))), "abcdefghijklmnopqrstuvwxyz"[random.integers(26)]
    return word[:position] + letter + word[position + 1 :]
