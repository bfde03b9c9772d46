"""Labels that the model left out or wrote only in part. The phrases of the prompt decide them, if only one can be
meant."""

from __future__ import annotations

from collections.abc import Sequence


def whole_label(label: str, phrases: Sequence[str], *, is_cut: bool) -> str:
    """A label. One that was cut short, as the answer reached its maximum length, becomes the only phrase that begins
    with it."""
    begun = [phrase for phrase in phrases if is_cut and label and phrase.startswith(label)]
    return begun[0] if len(begun) == 1 else label


def complete_labels(labels: Sequence[str | None], phrases: Sequence[str]) -> list[str | None]:
    """Labels, where a missing one becomes the only phrase of the prompt, or the only phrase that has no object. It
    stays None if several phrases may be meant."""
    without_object = [phrase for phrase in phrases if phrase not in labels]
    candidates = list(phrases) if len(phrases) == 1 else without_object
    meant = candidates[0] if len(candidates) == 1 else None
    return [label or meant for label in labels]
