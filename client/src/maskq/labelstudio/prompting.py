"""What is asked for, and which label an answer gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskq.labelstudio.project_config import Control, ProjectConfig
from maskq.labelstudio.protocol import Context
from maskq.phrases import phrases_of


@dataclass(frozen=True)
class Question:
    """The phrases that the model is asked for, and the labels of what it finds."""

    phrases: Sequence[str]
    chosen_labels: Sequence[str] = ()
    """Labels that the annotator has chosen, for what no label stands for."""
    is_urgent: bool = False
    """Whether an annotator waits for the answer."""
    is_typed: bool = False
    """Whether an annotator typed the phrases: they may be those of no label."""

    @classmethod
    def of(cls, config: ProjectConfig, context: Context | None) -> Question:
        """What an annotator typed; else the labels that the annotator chose; else all labels."""
        typed = context.texts(config.prompts) if context else []
        if phrases := [phrase for text in typed for phrase in phrases_of(text)]:
            return cls(phrases, context.labels if context else (), is_urgent=True, is_typed=True)
        chosen = _phrases(config, frozenset(context.labels if context else ()))
        return cls(chosen or _phrases(config, None), is_urgent=context is not None)

    def label_for(self, control: Control, name: str, asked: Sequence[str]) -> str | None:
        """The label that a control gives to an object.

        Args:
            name: what the model calls it.
            asked: the phrases of the prompt. If it is only one, every object is that.
        """
        label = control.label_of(name) or (control.label_of(asked[0]) if len(asked) == 1 else None)
        return label or (self._label_of_typed(control) if self.is_typed else None)

    def _label_of_typed(self, control: Control) -> str:
        chosen = (label for label in self.chosen_labels if label in control.phrases)
        return next(chosen, next(iter(control.phrases)))


def _phrases(config: ProjectConfig, only: frozenset[str] | None) -> list[str]:
    return [
        phrase
        for control in config.controls
        for label, phrases in control.phrases.items()
        if only is None or label in only
        for phrase in phrases
    ]
