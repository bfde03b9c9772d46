"""The requests of Label Studio to a machine learning backend, and the answers: `label_studio/ml/api_connector.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maskq.labelstudio.problems import BadRequest
from maskq.typed import Json

STATUS = {"status": "UP", "model_class": "maskq"}
"""The answer to `/` and `/health`."""
_TRAINING_EVENTS = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "START_TRAINING"})


@dataclass(frozen=True)
class Task:
    """One task of a project."""

    id: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What an annotator did, so that a prediction was asked for at once: regions as in an annotation."""

    regions: Sequence[Json] = ()

    def texts(self, controls: frozenset[str]) -> list[str]:
        """What was typed into one of these `TextArea`s."""
        typed = [each for each in self.regions if each.get("type") == "textarea" and each.get("from_name") in controls]
        values = [_value(each).get("text") for each in typed]
        lines = [text for value in values for text in (value if isinstance(value, list) else [value])]
        return [text.strip() for text in lines if isinstance(text, str) and text.strip()]

    @property
    def labels(self) -> list[str]:
        """The labels of the regions, such as that of a point which was drawn."""
        found = [_value(each).get(str(each.get("type"))) for each in self.regions if each.get("type") != "textarea"]
        return [label for labels in found if isinstance(labels, list) for label in labels if isinstance(label, str)]


@dataclass(frozen=True)
class PredictRequest:
    """The body of `/predict`."""

    tasks: Sequence[Task]
    label_config: str
    context: Context | None = None
    """None: predictions for many tasks. Otherwise an annotator waits for the only one."""

    @classmethod
    def of(cls, body: object) -> PredictRequest:
        """Read the body.

        Raises:
            BadRequest: it is none of this protocol.
        """
        request = _object(body, "the body")
        tasks = request.get("tasks")
        if not isinstance(tasks, list):
            raise BadRequest("tasks: is no list")
        params = _object(request.get("params") or {}, "params")
        return cls([_task(each) for each in tasks], _config(request, "label_config"), _context(params.get("context")))


@dataclass(frozen=True)
class SetupRequest:
    """The body of `/setup`. Its `hostname` and `access_token` are not read: whoever reaches the port could give any."""

    label_config: str = field(default="")

    @classmethod
    def of(cls, body: object) -> SetupRequest:
        """Read the body.

        Raises:
            BadRequest: it is none of this protocol.
        """
        return cls(_config(_object(body, "the body"), "schema"))


def prediction(regions: Sequence[Json], scores: Sequence[float], model_version: str) -> Json:
    """One prediction for one task. Its score is the mean of those of the objects, and 0 if there are none."""
    score = sum(scores) / len(scores) if scores else 0.0
    return {"result": list(regions), "score": score, "model_version": model_version}


def webhook_answer(body: object) -> tuple[int, Json]:
    """Status and answer to a notice from Label Studio. Nothing is trained here, so it changes nothing.

    Raises:
        BadRequest: it has no action.
    """
    action = _object(body, "the body").get("action")
    if not isinstance(action, str):
        raise BadRequest("action: is missing")
    return (201, {"result": {}, "status": "ok"}) if action in _TRAINING_EVENTS else (200, {"status": "Unknown event"})


def _object(value: object, name: str) -> Json:
    if not isinstance(value, dict):
        raise BadRequest(f"{name}: is no JSON object")
    return value


def _config(request: Json, name: str) -> str:
    config = request.get(name)
    if not isinstance(config, str):
        raise BadRequest(f"{name}: is no text")
    return config


def _task(value: object) -> Task:
    task = _object(value, "a task")
    return Task(str(task.get("id", "")), _object(task.get("data"), "the data of a task"))


def _context(value: object) -> Context | None:
    """An annotator who did nothing has no context: Label Studio then sends null, `{}` or only credentials."""
    result = value.get("result") if isinstance(value, dict) else None
    regions = [each for each in result if isinstance(each, dict)] if isinstance(result, list) else []
    return Context(regions) if regions else None


def _value(region: Json) -> Json:
    value = region.get("value")
    return value if isinstance(value, dict) else {}
