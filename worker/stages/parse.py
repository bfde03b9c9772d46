"""From the text of an answer to boxes, mask codes and labels. `shared.domain.paligemma` describes the form of answers.

Nothing is dropped silently: text that is not an object is returned with the reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from shared.domain.paligemma import BOX_TOKENS, CODEBOOK_SIZE, LOCATIONS, MASK_TOKENS, SEPARATOR, SPATIAL_TOKEN
from worker.stages.labels import complete_labels, whole_label

_SPATIAL_RUN = re.compile(rf"((?:{SPATIAL_TOKEN.pattern})+)")


class SkipReason(StrEnum):
    """Why a part of an answer is not an object."""

    STRAY_TEXT = "stray_text"
    """Text that belongs to no object: the model answers in words instead of boxes."""
    WRONG_BOX = "wrong_number_of_location_tokens"
    WRONG_MASK = "wrong_number_of_segmentation_tokens"
    UNKNOWN_TOKEN = "location_or_segmentation_token_out_of_range"
    EMPTY_BOX = "empty_box"
    """y1 <= y0 or x1 <= x0. The scoring protocol of big_vision counts such a box as invalid."""
    CUT_SHORT = "cut_short"
    """The answer reached its maximum length in the middle of this object."""


@dataclass(frozen=True)
class Detection:
    """One object, as the model wrote it."""

    label: str | None
    """None if the model wrote none and the prompt does not decide it."""
    box_yxyx: tuple[int, int, int, int]
    """y0, x0, y1, x1 as locations, 0..1023."""
    codes: tuple[int, ...] | None
    """16 mask codes in 0..127, or None if the model wrote only a box."""
    score: float
    """Geometric mean of the probabilities of its location tokens, 0..1. Those of mask tokens say little: many codes
    write nearly the same mask (docs/answers.md)."""


@dataclass(frozen=True)
class SkippedText:
    """A part of the answer that is not an object."""

    reason: SkipReason
    text: str


@dataclass(frozen=True)
class ParsedAnswer:
    """Everything in an answer, in its order."""

    detections: list[Detection] = field(default_factory=list)
    skipped: list[SkippedText] = field(default_factory=list)


@dataclass(frozen=True)
class _Token:
    kind: str
    value: int
    text: str
    logprob: float


def parse_answer(
    text: str, logprobs: Sequence[float], *, phrases: Sequence[str] = (), truncated: bool = False
) -> ParsedAnswer:
    """Read an answer.

    Args:
        text: The answer, decoded, without `<eos>`.
        logprobs: Natural logarithms of the probabilities of its location and mask tokens, in order.
        phrases: The phrases of the prompt, from which objects without a label get one.
        truncated: The answer was stopped at its maximum length.
    """
    answer = ParsedAnswer()
    tokens = iter(logprobs)
    before, *rest = _SPATIAL_RUN.split(text)
    pieces = list(zip(rest[:: 2 + _GROUPS], rest[1 + _GROUPS :: 2 + _GROUPS], strict=True))
    _skip_text(answer, before)
    for index, (run, after) in enumerate(pieces):
        label, *others = after.strip().split(SEPARATOR.strip())
        objects = list(_split_run(_read_tokens(run, tokens)))
        for position, group in enumerate(objects):
            ends_run = position == len(objects) - 1
            is_cut = truncated and ends_run and index == len(pieces) - 1 and not after
            ends_text = truncated and not others and index == len(pieces) - 1
            name = whole_label(label.strip(), phrases, is_cut=ends_text) if ends_run else ""
            _read_object(answer, group, name, is_cut=is_cut)
        for other in others:
            _skip_text(answer, other)
    labels = complete_labels([each.label for each in answer.detections], phrases)
    detections = [replace(each, label=label) for each, label in zip(answer.detections, labels, strict=True)]
    return replace(answer, detections=detections)


_GROUPS = SPATIAL_TOKEN.groups


def _skip_text(answer: ParsedAnswer, text: str) -> None:
    for part in text.split(SEPARATOR.strip()):
        if part.strip():
            answer.skipped.append(SkippedText(SkipReason.STRAY_TEXT, part.strip()))


def _read_tokens(run: str, logprobs: Iterator[float]) -> Iterator[_Token]:
    for match in SPATIAL_TOKEN.finditer(run):
        kind, value = (match[1], match[2]) if match[1] else (match[3], match[4])
        yield _Token(kind, int(value), match[0], next(logprobs, -math.inf))


def _split_run(tokens: Iterator[_Token]) -> Iterator[list[_Token]]:
    """Cut a run of tokens into objects: before a location that follows a mask token, and after every 4 locations that
    are followed by more locations (boxes without masks)."""
    group: list[_Token] = []
    for token in tokens:
        is_box = len(group) == BOX_TOKENS and all(each.kind == "loc" for each in group)
        if token.kind == "loc" and group and (is_box or group[-1].kind == "seg"):
            yield group
            group = []
        group.append(token)
    yield group


def _read_object(answer: ParsedAnswer, group: list[_Token], label: str, *, is_cut: bool) -> None:
    box = tuple(token.value for token in group if token.kind == "loc")
    codes = tuple(token.value for token in group if token.kind == "seg")
    reason = _fault(box, codes, is_cut=is_cut)
    if reason is not None:
        text = "".join(token.text for token in group)
        answer.skipped.append(SkippedText(reason, f"{text} {label}".strip()))
        return
    score = math.exp(sum(token.logprob for token in group if token.kind == "loc") / BOX_TOKENS)
    answer.detections.append(Detection(label or None, (box[0], box[1], box[2], box[3]), codes or None, score))


def _fault(box: Sequence[int], codes: Sequence[int], *, is_cut: bool) -> SkipReason | None:
    """Why these tokens are not an object, or None if they are one."""
    if is_cut and (len(box) < BOX_TOKENS or len(codes) < MASK_TOKENS):
        return SkipReason.CUT_SHORT
    if len(box) != BOX_TOKENS:
        return SkipReason.WRONG_BOX
    if len(codes) not in (0, MASK_TOKENS):
        return SkipReason.WRONG_MASK
    if max(box) >= LOCATIONS or max(codes, default=0) >= CODEBOOK_SIZE:
        return SkipReason.UNKNOWN_TOKEN
    if box[2] <= box[0] or box[3] <= box[1]:
        return SkipReason.EMPTY_BOX
    return None
