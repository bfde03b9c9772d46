"""Models: those of the registry, and those that this deployment serves."""

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
    """A checkpoint in the registry. models/registry.toml explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    family: str | None = None
    folder: str | None = None
    resolution: int | None = None
    patch: int = 14
    parameters: int | None = None
    softcap: bool = False
    softcap_source: str = "default of fine-tuning; an entry in the registry can set another"
    prompt: str = "segment {thing} ; {thing}"
    gated: bool = False

    @property
    def image_tokens(self) -> int | None:
        """Image tokens before the prompt; None if the resolution is unknown."""
        return (self.resolution // self.patch) ** 2 if self.resolution else None

    def weights_bytes(self, dtype: str) -> int | None:
        """Memory of the weights in `dtype`, a key of `BYTES_PER_PARAMETER`, without activations and caches; None if the
        number of parameters is unknown."""
        return self.parameters * BYTES_PER_PARAMETER[dtype] if self.parameters else None


@dataclass(frozen=True)
class ServedModel:
    """A model of this deployment."""

    name: str
    """Its name in requests."""
    entry: RegistryEntry
    folder: Path | None
    """Folder of its files; None if `name` is a hub id and the files must be fetched."""


def served_model(settings: ModelSettings) -> ServedModel:
    """The model of `MASKQ_MODEL_ID`: a worker serves it, and jobs that name no model use it.

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
    """An entry of the registry, or a local folder; the name of that model is the last part of the path.

    Raises:
        ConfigurationError: it is neither. The message lists the names in the registry.
    """
    registry = read_registry(models_dir)
    if entry := registry.get(model_id):
        return ServedModel(model_id, entry, models_dir / entry.folder if entry.folder else None)
    folder = Path(model_id).expanduser()
    if folder.is_dir():
        return ServedModel(folder.resolve().name, RegistryEntry(about="A local checkpoint of this deployment."), folder)
    known = ", ".join(registry)
    raise ConfigurationError(f"{model_id} is neither a local folder nor a model of the registry: {known}")


def read_registry(models_dir: Path) -> dict[str, RegistryEntry]:
    """Every model of `registry.toml`, by name.

    Raises:
        ConfigurationError: the file is missing or invalid. The message explains it.
    """
    path = models_dir / "registry.toml"
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        families, models = tables.get("families", {}), tables["models"]
        return {name: _entry(families, table) for name, table in models.items()}
    except FileNotFoundError:
        raise ConfigurationError(f"no registry at {path}: MASKQ_MODELS_DIR must be the folder `models`") from None
    except (tomllib.TOMLDecodeError, ValidationError, KeyError) as error:
        raise ConfigurationError(f"{path} is not a registry: {error}") from None


def _entry(families: dict[str, Any], table: dict[str, Any]) -> RegistryEntry:
    """The fields of its family, overridden by those of the model itself."""
    family = families[table["family"]] if "family" in table else {}
    return RegistryEntry.model_validate({**family, **table})
