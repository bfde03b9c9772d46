"""Reads XML that somebody else wrote."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from maskq.labelstudio.problems import BadRequest

_MAX_DEPTH = 200
"""Label Studio's own configs have about 10."""


def parse_xml(text: str) -> Element:
    """The root element. A document that declares a type is refused, so it can declare no entities.

    Raises:
        BadRequest: it is no XML, declares a document type, or is nested too deeply.
    """
    parser = XMLParser(target=_Elements())  # noqa: S314
    try:
        parser.feed(text)
        root: Element = parser.close()
    except (ParseError, ValueError) as error:
        raise BadRequest(f"the labeling config is no XML: {error}") from error
    return root


class _Elements(TreeBuilder):
    """Makes elements, and stops at what a labeling config never has."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise BadRequest("the labeling config declares a document type")

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise BadRequest(f"the labeling config is nested more than {_MAX_DEPTH} deep")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)
