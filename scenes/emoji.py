"""Pictures of things with names that everybody knows: emoji of the font Noto Color Emoji.

The font (Debian: fonts-noto-color-emoji) is needed to draw scenes only. Its licence is the SIL Open Font License 1.1.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from scenes.outlines import Points, extent

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
"""Where Debian and Ubuntu install the font."""
_BITMAP_SIZE = 109
"""The only size that the font holds, in its own unit: pictures of at most 136 x 128 pixels."""
_CANVAS_PX = 160

CHARACTERS: dict[str, str] = {
    # animals
    "cat": "🐈", "dog": "🐕", "rabbit": "🐇", "fox": "🦊", "bear": "🐻", "panda": "🐼", "koala": "🐨", "tiger": "🐅",
    "lion": "🦁", "cow": "🐄", "pig": "🐖", "frog": "🐸", "monkey": "🐒", "penguin": "🐧", "duck": "🦆", "owl": "🦉",
    "horse": "🐎", "unicorn": "🦄", "bee": "🐝", "butterfly": "🦋", "snail": "🐌", "ladybug": "🐞", "turtle": "🐢",
    "snake": "🐍", "octopus": "🐙", "crab": "🦀", "dolphin": "🐬", "whale": "🐳", "shark": "🦈", "crocodile": "🐊",
    "zebra": "🦓", "gorilla": "🦍", "elephant": "🐘", "camel": "🐪", "giraffe": "🦒", "kangaroo": "🦘", "sheep": "🐑",
    "rooster": "🐓", "parrot": "🦜", "flamingo": "🦩", "hedgehog": "🦔", "fish": "🐠",
    # food
    "apple": "🍎", "pear": "🍐", "lemon": "🍋", "banana": "🍌", "watermelon": "🍉", "grapes": "🍇",
    "strawberry": "🍓", "cherries": "🍒", "peach": "🍑", "pineapple": "🍍", "tomato": "🍅", "eggplant": "🍆",
    "avocado": "🥑", "broccoli": "🥦", "carrot": "🥕", "corn": "🌽", "mushroom": "🍄", "bread": "🍞",
    "croissant": "🥐", "pretzel": "🥨", "cheese": "🧀", "hamburger": "🍔", "fries": "🍟", "pizza": "🍕",
    "sandwich": "🥪", "taco": "🌮", "popcorn": "🍿", "doughnut": "🍩", "cookie": "🍪", "cake": "🎂", "chocolate": "🍫",
    "lollipop": "🍭", "coffee": "☕",
    # ways to travel
    "car": "🚗", "bus": "🚌", "truck": "🚚", "tractor": "🚜", "scooter": "🛵", "ambulance": "🚑",
    "rocket": "🚀", "sailboat": "⛵", "train": "🚂",
    # other things
    "guitar": "🎸", "violin": "🎻", "trumpet": "🎺", "saxophone": "🎷", "drum": "🥁", "camera": "📷",
    "television": "📺", "laptop": "💻", "book": "📕", "key": "🔑", "lock": "🔒", "hammer": "🔨", "umbrella": "☂",
    "balloon": "🎈", "gift": "🎁", "trophy": "🏆", "crown": "👑", "hat": "🎩", "boot": "👢", "dress": "👗",
    "shirt": "👕", "jeans": "👖", "backpack": "🎒", "bell": "🔔", "bomb": "💣", "magnet": "🧲", "anchor": "⚓",
    "basketball": "🏀", "dice": "🎲", "chair": "🪑",
    # outdoors, and figures
    "house": "🏠", "castle": "🏰", "tent": "⛺", "tree": "🌳", "cactus": "🌵", "rose": "🌹", "tulip": "🌷",
    "sunflower": "🌻", "moon": "🌙", "sun": "🌞", "cloud": "☁", "snowman": "⛄", "robot": "🤖", "ghost": "👻",
}  # fmt: skip
"""One character for each name."""

Rgba: TypeAlias = npt.NDArray[np.uint8]

_FINE = 4
"""Outlines are followed in a picture enlarged by this factor."""
_INSIDE = 127
"""A pixel with a larger alpha is inside."""
_MIN_AREA_SHARE = 0.004
"""Smaller parts and holes, as a share of the picture, are left out of the outlines."""


@dataclass(frozen=True)
class Emoji:
    """A picture around the origin; its farthest outline point is 1 from it. The y axis points down."""

    picture: Rgba
    """uint8[H, W, 4], with the alpha channel last."""
    outlines: tuple[Points, ...]
    """Closed outlines, float32[N, 2] of (x, y): of every part and of every hole."""
    frame: Points
    """float32[3, 2]: the top left, top right and bottom left corners of the picture."""

    @property
    def mean_rgb(self) -> tuple[int, int, int]:
        """The mean colour of what is inside."""
        red, green, blue = self.picture[self.picture[..., 3] > _INSIDE][:, :3].mean(axis=0).round().astype(int).tolist()
        return red, green, blue


@cache
def emoji(name: str) -> Emoji:
    """The emoji of a name in CHARACTERS.

    Raises:
        FileNotFoundError: the font is not installed.
    """
    picture = _draw(CHARACTERS[name])
    outlines = _follow(picture[..., 3])
    low, high = extent(outlines)
    centre = (low + high) / 2
    radius = np.linalg.norm(np.concatenate(outlines) - centre, axis=1).max()
    height, width = picture.shape[:2]
    frame = np.array([(0, 0), (width, 0), (0, height)], dtype=np.float32)
    outlines = tuple(((outline - centre) / radius).astype(np.float32) for outline in outlines)
    return Emoji(picture, outlines, ((frame - centre) / radius).astype(np.float32))


def _draw(character: str) -> Rgba:
    """The picture of a character, cropped to what can be seen."""
    canvas = Image.new("RGBA", (_CANVAS_PX, _CANVAS_PX))
    ImageDraw.Draw(canvas).text((8, 8), character, font=_font(), embedded_color=True)
    return np.array(canvas.crop(canvas.getbbox()))


@cache
def _font() -> ImageFont.FreeTypeFont:
    if not FONT.exists():
        raise FileNotFoundError(f"emoji are drawn with {FONT}; install it (Debian: apt install fonts-noto-color-emoji)")
    return ImageFont.truetype(str(FONT), _BITMAP_SIZE)


def _follow(alpha: npt.NDArray[np.uint8]) -> tuple[Points, ...]:
    """The outlines of what is inside, in pixels of the picture."""
    padded = cv2.copyMakeBorder(alpha, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    fine = cv2.resize(padded, None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_LINEAR)
    inside = (fine > _INSIDE).astype(np.uint8)
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    smallest = _MIN_AREA_SHARE * inside.size
    kept = [cv2.approxPolyDP(each, 1.0, closed=True) for each in contours if cv2.contourArea(each) >= smallest]
    return tuple(((each[:, 0] + 0.5) / _FINE - 1).astype(np.float32) for each in kept)
