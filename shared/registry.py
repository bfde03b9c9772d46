"""Which models there are: the registry's, and the one this deployment serves."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from shared.errors import ConfigurationError
from shared.settings import Settings


class RegistryEntry(BaseModel):
    """What the registry says of a checkpoint. Its file explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    folder: str | None = None
    resolution: int | None = None
    softcap: bool = False
    gated: bool = False


@dataclass(frozen=True)
class ServedModel:
    """The model of this deployment."""

    name: str
    """What clients call it."""
    entry: RegistryEntry
    folder: Path | None
    """Where its files are, or None if `name` is a hub id and they have to be fetched."""


def served_model(settings: Settings) -> ServedModel:
    """Find the model that `MODEL_ID` names: an entry of the registry, or a local folder, called by its last name.

    Raises:
        ConfigurationError: neither; says which names there are.
    """
    registry = _read_registry(settings.models_dir / "registry.toml")
    if entry := registry.get(settings.model_id):
        return ServedModel(settings.model_id, entry, settings.models_dir / entry.folder if entry.folder else None)
    folder = Path(settings.model_id).expanduser()
    if folder.is_dir():
        return ServedModel(folder.resolve().name, RegistryEntry(about="A checkpoint of this deployment's own."), folder)
    known = ", ".join(registry)
    raise ConfigurationError(f"MODEL_ID={settings.model_id} is neither a folder nor one of: {known}")


def _read_registry(path: Path) -> dict[str, RegistryEntry]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"no registry at {path}: MODELS_DIR must name the folder `models`") from None
    return {name: RegistryEntry.model_validate(table) for name, table in tables.items()}
