"""Which models there are: the registry's, and those this deployment serves."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import ConfigurationError
from shared.settings import ModelSettings

BYTES_PER_PARAMETER = {"float32": 4, "bfloat16": 2}


class RegistryEntry(BaseModel):
    """What the registry says of a checkpoint. Its file explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    family: str | None = None
    folder: str | None = None
    resolution: int | None = None
    patch: int = 14
    parameters: int | None = None
    softcap: bool = False
    softcap_source: str = "what fine-tuning does by default; an entry in the registry can choose otherwise"
    prompt: str = "segment {thing} ; {thing}"
    gated: bool = False

    @property
    def image_tokens(self) -> int | None:
        """Tokens that an image takes before the prompt."""
        return (self.resolution // self.patch) ** 2 if self.resolution else None

    def weights_bytes(self, dtype: str) -> int | None:
        """Memory of the weights in `dtype`, a name in `BYTES_PER_PARAMETER`; activations and caches come on top."""
        return self.parameters * BYTES_PER_PARAMETER[dtype] if self.parameters else None


@dataclass(frozen=True)
class ServedModel:
    """A model of this deployment."""

    name: str
    """What clients call it."""
    entry: RegistryEntry
    folder: Path | None
    """Where its files are, or None if `name` is a hub id and they have to be fetched."""


def served_model(settings: ModelSettings) -> ServedModel:
    """The model that `MASKQ_MODEL_ID` names: what a worker serves, and what a job is for unless it says otherwise.

    Raises:
        ConfigurationError: as `find_model`.
    """
    return find_model(settings.model_id, settings.models_dir)


def offered_models(settings: ModelSettings) -> dict[str, ServedModel]:
    """All models of this deployment by name, the one of `MASKQ_MODEL_ID` first.

    Raises:
        ConfigurationError: as `find_model`.
    """
    ids = [settings.model_id, *(name.strip() for name in settings.models.split(",") if name.strip())]
    found = [find_model(model_id, settings.models_dir) for model_id in ids]
    return {model.name: model for model in found}


def find_model(model_id: str, models_dir: Path) -> ServedModel:
    """An entry of the registry, or a local folder, called by its last name.

    Raises:
        ConfigurationError: neither; says which names there are.
    """
    registry = read_registry(models_dir)
    if entry := registry.get(model_id):
        return ServedModel(model_id, entry, models_dir / entry.folder if entry.folder else None)
    folder = Path(model_id).expanduser()
    if folder.is_dir():
        return ServedModel(folder.resolve().name, RegistryEntry(about="A checkpoint of this deployment's own."), folder)
    known = ", ".join(registry)
    raise ConfigurationError(f"{model_id} is neither a local folder nor a model of the registry: {known}")


def read_registry(models_dir: Path) -> dict[str, RegistryEntry]:
    """Every model of `registry.toml`, by name.

    Raises:
        ConfigurationError: it is missing or wrong; says what.
    """
    path = models_dir / "registry.toml"
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        families, models = tables.get("families", {}), tables["models"]
        return {name: _entry(families, table) for name, table in models.items()}
    except FileNotFoundError:
        raise ConfigurationError(f"no registry at {path}: MASKQ_MODELS_DIR must name the folder `models`") from None
    except (tomllib.TOMLDecodeError, ValidationError, KeyError) as error:
        raise ConfigurationError(f"{path} is not a registry: {error}") from None


def _entry(families: dict[str, Any], table: dict[str, Any]) -> RegistryEntry:
    """What its family says, and on top what is said of the model itself."""
    family = families[table["family"]] if "family" in table else {}
    return RegistryEntry.model_validate({**family, **table})
