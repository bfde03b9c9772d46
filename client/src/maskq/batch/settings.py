"""What was asked for. A batch goes on only with the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from maskq.typed import Json


@dataclass(frozen=True)
class BatchSettings:
    """What the results of each image depend on."""

    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """`SubmitOptions` of all jobs."""
    masks: bool = False
    """Write each mask as PNG."""
    overlays: bool = False
    """Write each image with its masks drawn over it."""
    labelstudio: bool = False
    """Write tasks for Label Studio."""
    from_name: str = "tag"
    """Name of Label Studio's control tag."""
    to_name: str = "image"
    """Name of Label Studio's object tag."""

    def json(self, root: str) -> Json:
        """The settings with the folder of the images, as the journal has them."""
        outputs = {"masks": self.masks, "overlays": self.overlays, "labelstudio": self.labelstudio}
        tags = {"from_name": self.from_name, "to_name": self.to_name} if self.labelstudio else {}
        return {"folder": root, "prompt": self.prompt, **self.options, **outputs, **tags}


def differences(before: Json, now: Json) -> Iterator[str]:
    """What differs, for people."""
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) != now.get(name):
            yield f"{name} was {_shown(before.get(name))} and is {_shown(now.get(name))}"


def _shown(value: object) -> str:
    return "not given" if value is None else json.dumps(value, ensure_ascii=False)
