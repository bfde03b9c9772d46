"""The words that name the objects of scenes: coloured shapes, or things that everybody knows."""

from dataclasses import dataclass
from typing import TypeAlias

from scenes.emoji import CHARACTERS
from scenes.outlines import KINDS

Color: TypeAlias = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "red": (215, 30, 35),
    "green": (30, 150, 50),
    "blue": (35, 70, 215),
    "yellow": (250, 225, 40),
    "purple": (130, 45, 165),
    "orange": (250, 135, 15),
    "white": (247, 247, 247),
    "black": (12, 12, 12),
}


@dataclass(frozen=True)
class Vocabulary:
    """The words of one set of scenes."""

    kinds: tuple[str, ...]
    colors: tuple[str, ...] = ()
    """Names of colours; empty where objects are asked for by their kind alone."""

    def indices(self, color: str, kind: str) -> tuple[int, int]:
        """The places of a colour and a kind among the words; -1 for NO_COLOR."""
        return self.kinds.index(kind), -1 if color == NO_COLOR else self.colors.index(color)

    @property
    def attributes(self) -> dict[str, tuple[str, ...]]:
        """The words for each attribute that names an object."""
        return {"color": self.colors, "kind": self.kinds} if self.has_colors else {"kind": self.kinds}

    @property
    def words(self) -> tuple[str, ...]:
        return *self.kinds, *self.colors

    @property
    def has_colors(self) -> bool:
        return bool(self.colors)


NO_COLOR = ""
"""The colour name of an object that is not asked for by colour."""
SHAPES = Vocabulary(KINDS, tuple(COLORS))
EMOJI = Vocabulary(tuple(CHARACTERS))


def names_of(color: str, kind: str) -> tuple[str, ...]:
    """The phrases that name an object: "red circle", "circle" and "red"; or only "cat"."""
    return (kind,) if color == NO_COLOR else (f"{color} {kind}", kind, color)
