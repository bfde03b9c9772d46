"""What a labeling config says: which labels are wanted, how they are drawn, and where the image is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

from maskq.labelstudio.problems import BadRequest, NoPrediction
from maskq.labelstudio.xml import parse_xml
from maskq.phrases import key_of, phrases_of

BRUSH, POLYGON, RECTANGLE = "brushlabels", "polygonlabels", "rectanglelabels"
"""The types of regions that a prediction can have."""
_DRAWN = frozenset({BRUSH, POLYGON, RECTANGLE})
# Attributes that Label Studio ignores and its own backends read.
_PROMPTS = "predicted_values"
"""Of a label: what the model is asked for, between commas."""
_MIN_SCORE = "model_score_threshold"


@dataclass(frozen=True)
class ImageTag:
    """An `Image`: the name of the tag, and where a task has the image."""

    name: str
    path: tuple[str, ...]
    """Keys in the data of a task, from the outermost to the innermost."""

    def value_in(self, data: Mapping[str, Any]) -> object:
        """What the task has in this place.

        Raises:
            NoPrediction: nothing.
        """
        value: Any = data
        for key in self.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            raise NoPrediction(f"the task has no ${'.'.join(self.path)}")
        return value


@dataclass(frozen=True)
class Control:
    """A tag that draws labeled regions on an image."""

    name: str
    kind: str
    """`BRUSH`, `POLYGON` or `RECTANGLE`."""
    image: ImageTag
    phrases: Mapping[str, Sequence[str]]
    """For each label, as it stands in a region, what the model is asked for."""
    min_score: float = 0.0
    """Objects with a lower score are left out."""

    def label_of(self, phrase: str) -> str | None:
        """The first label that this phrase stands for; None if there is none."""
        key = key_of(phrase)
        return next((label for label, names in self.phrases.items() if key in map(key_of, names)), None)


@dataclass(frozen=True)
class ProjectConfig:
    """The part of a labeling config that matters here."""

    controls: Sequence[Control]
    prompts: frozenset[str] = field(default=frozenset())
    """The names of the `TextArea`s that belong to an image as a whole: prompts are typed there."""

    @classmethod
    def of(cls, label_config: str) -> ProjectConfig:
        """Read a labeling config.

        Raises:
            BadRequest: it is no XML, or XML that is refused.
        """
        tags = list(parse_xml(label_config).iter())
        images = {image.name: image for image in _images(tags)}
        controls = [(tag, control) for tag in tags if (control := _control(tag, images))]
        # A "smart" tag is the input of a prediction. It is the output only where nothing else is.
        drawn = [control for tag, control in controls if not _is_true(tag, "smart")] or [each for _, each in controls]
        return cls(drawn, frozenset(_prompts(tags, images)))

    def for_image(self, image: ImageTag) -> list[Control]:
        """The controls of one image."""
        return [control for control in self.controls if control.image == image]

    @property
    def images(self) -> list[ImageTag]:
        """The images that regions are drawn on."""
        return list(dict.fromkeys(control.image for control in self.controls))


def _images(tags: Sequence[Element]) -> Iterator[ImageTag]:
    for tag in tags:
        name, value = tag.get("name"), tag.get("value", "")
        if _kind(tag) == "image" and name and value.startswith("$"):
            yield ImageTag(name, tuple(value[1:].split(".")))


def _control(tag: Element, images: Mapping[str, ImageTag]) -> Control | None:
    name, image, kind = tag.get("name"), _target(tag, images), _kind(tag)
    phrases = dict(_labels(tag)) if kind in _DRAWN else {}
    if not (name and image and phrases):
        return None
    return Control(name, kind, image, phrases, _min_score(tag))


def _min_score(tag: Element) -> float:
    text = tag.get(_MIN_SCORE, "0")
    try:
        return float(text)
    except ValueError:
        raise BadRequest(f"{_MIN_SCORE}: {text!r} is no number") from None


def _labels(tag: Element) -> Iterator[tuple[str, list[str]]]:
    """Each label with its phrases. Labels that come from the data of a task (`$labels`) are not known here."""
    for label in tag.iter():
        value = label.get("value", "").strip()
        if _kind(label) != "label" or value.startswith("$") or not (value or label.get("alias")):
            continue
        own = [value.replace(";", ",").lower()] if key_of(value) else []
        if phrases := phrases_of(label.get(_PROMPTS, "").replace(",", ";")) or own:
            yield label.get("alias") or value, phrases


def _prompts(tags: Sequence[Element], images: Mapping[str, ImageTag]) -> Iterator[str]:
    for tag in tags:
        if _kind(tag) == "textarea" and _target(tag, images) and not _is_true(tag, "perRegion"):
            yield tag.get("name", "")


def _target(tag: Element, images: Mapping[str, ImageTag]) -> ImageTag | None:
    names = [name.strip() for name in tag.get("toName", "").split(",")]
    return next((images[name] for name in names if name in images), None)


def _kind(tag: Element) -> str:
    """The name of a tag, in lower case: Label Studio's editor does not tell them apart."""
    return str(tag.tag).lower()


def _is_true(tag: Element, name: str) -> bool:
    return tag.get(name, "").lower() == "true"
