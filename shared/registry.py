"""Models: those of the registry, and those that this deployment serves."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import ConfigurationError
from shared.settings import ModelSettings

BYTES_PER_PARAMETER = {"float32": 4, "bfloat16": 2, "float16": 2}
QUANTIZED_BYTES = {"int8": 1.0, "int4": 0.5 + 4 / 128}
"""Bytes of one weight that `MASKQ_QUANTIZE` stores. For 128 weights in 4 bits there are a scale and a zero point as
well, of two bytes each."""
_VISION_LAYERS = 411_070_464
"""Parameters in the linear layers of SigLIP So400m/14, the vision tower of all official models. With `int4` they have 8
bits."""
_MAX_NAME_CHARS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of folders. They are parts of Redis keys, names of queues, labels of metrics, and lists with commas."""
_REGISTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
"""Names in a registry may be hub ids as well."""


class RegistryEntry(BaseModel):
    """A checkpoint in the registry. models/registry.toml explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    family: str | None = None
    folder: str | None = None
    resolution: int | None = None
    patch: int = 14
    parameters: int | None = None
    layers: int | None = None
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

    def quantized_bytes(self, quantization: str) -> int | None:
        """As `weights_bytes` in bfloat16, with this `MASKQ_QUANTIZE`, a key of `QUANTIZED_BYTES`."""
        if not self.parameters or not self.layers:
            return None
        others = self.parameters - self.layers - _VISION_LAYERS
        stored = self.layers * QUANTIZED_BYTES[quantization] + _VISION_LAYERS * QUANTIZED_BYTES["int8"]
        return round(stored + others * BYTES_PER_PARAMETER["bfloat16"])


_LOCAL = RegistryEntry(about="A local checkpoint of this deployment.")


@dataclass(frozen=True)
class ServedModel:
    """A model of this deployment."""

    name: str
    """Its name in requests."""
    entry: RegistryEntry
    folder: Path | None
    """Folder of its files, which may be missing on this machine: only workers need it. None if `name` is a hub id and
    the files must be fetched."""


def served_model(settings: ModelSettings) -> ServedModel:
    """The model of `MASKQ_MODEL_ID`: a worker serves it, and jobs that name no model use it.

    Raises:
        ConfigurationError: as `find_model`.
    """
    return _named_by("MASKQ_MODEL_ID", settings.model_id, read_registry(settings), settings.models_dir)


def offered_models(settings: ModelSettings) -> dict[str, ServedModel]:
    """All models of this deployment by name, the one of `MASKQ_MODEL_ID` first.

    Raises:
        ConfigurationError: as `find_model`, or two folders have the same name.
    """
    registry = read_registry(settings)
    offered: dict[str, ServedModel] = {}
    others = [("MASKQ_MODELS", part.strip()) for part in settings.models.split(",") if part.strip()]
    for variable, text in [("MASKQ_MODEL_ID", settings.model_id), *others]:
        model = _named_by(variable, text, registry, settings.models_dir)
        other = offered.setdefault(model.name, model)
        if other.folder != model.folder:
            raise ConfigurationError(
                f"{other.folder} and {model.folder} would both be called {model.name}: choose a name for one of them, "
                f"for example {model.name}-2={model.folder}"
            )
    return offered


def _named_by(variable: str, text: str, registry: Mapping[str, RegistryEntry], models_dir: Path) -> ServedModel:
    """The model that a variable names. An error begins with the variable's name."""
    try:
        return _resolve(text.strip(), registry, models_dir)
    except ConfigurationError as error:
        raise ConfigurationError(f"{variable}: {error.detail}") from None


def find_model(text: str, settings: ModelSettings) -> ServedModel:
    """A model by the text of a setting: a name in the registry, a folder, or `NAME=FOLDER`.

    Text that begins with `/`, `~`, `./` or `../` is a folder, and so is the path of a folder that exists. The name of a
    folder is the last part of its path, unless `NAME=` chooses another. Whether the folder exists is not checked:
    front ends need only the name.

    Raises:
        ConfigurationError: it is none of these, or the name cannot be used. The message says what to write.
    """
    return _resolve(text.strip(), read_registry(settings), settings.models_dir)


def _resolve(text: str, registry: Mapping[str, RegistryEntry], models_dir: Path) -> ServedModel:
    if known := _known_model(text, registry, models_dir):
        return known
    if _is_path(text) or ("=" not in text and os.path.isdir(text)):  # noqa: PTH112  Path.is_dir may raise
        return _local_model(Path(os.path.normpath(text)).name, text, text, registry)
    if "," in text:
        raise ConfigurationError(f"{text} names several models: name one, and all in MASKQ_MODELS")
    if "=" in text:
        name, _, path = text.partition("=")
        return _local_model(name.strip(), path.strip(), text, registry)
    raise ConfigurationError(
        f"{text} is not a model of the registry: {', '.join(registry)}. Write a folder as /FOLDER or NAME=/FOLDER. A "
        "hub id of your own needs an entry in the file of MASKQ_REGISTRY (docs/models.md)"
    )


def find_base(text: str, settings: ModelSettings) -> ServedModel | None:
    """The base of a fine-tuned model by its name in the registry or its folder, which may have any name. None if it is
    neither.

    Raises:
        ConfigurationError: as `read_registry`.
    """
    known = _known_model(text, read_registry(settings), settings.models_dir)
    if known or not (_is_path(text) or os.path.isdir(text)):  # noqa: PTH112  Path.is_dir may raise
        return known
    return ServedModel(text, _LOCAL, _expanded(text))


def _known_model(text: str, registry: Mapping[str, RegistryEntry], models_dir: Path) -> ServedModel | None:
    """The model of the registry with this name or this folder."""
    for name, entry in registry.items():
        folder = models_dir / entry.folder if entry.folder else None
        if name == text or (folder and _same_path(folder, _expanded(text))):
            return ServedModel(name, entry, folder)
    return None


def _is_path(text: str) -> bool:
    return text.startswith(("/", "~", "./", "../")) or text in (".", "..")


def _local_model(name: str, path: str, text: str, registry: Mapping[str, RegistryEntry]) -> ServedModel:
    """A folder under a name of the operator's choice. `text` is what the setting says, for messages."""
    folder = path or "/FOLDER"
    if name in registry:
        raise ConfigurationError(
            f"{text} would be called {name}, and the registry has a model of this name: choose another name, "
            f"for example my-{name.rpartition('/')[2]}={folder}"
        )
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{text} would be called {name!r}, which cannot be the name of a model: choose one with NAME={folder}, of "
            f"at most {_MAX_NAME_CHARS} of the characters A-Z a-z 0-9 . _ -, beginning with a letter or digit"
        )
    if not path or path in registry:
        raise ConfigurationError(
            f"{text} names no folder: write {name}=/FOLDER. Models of the registry are served under their own names"
        )
    return ServedModel(name, _LOCAL, _expanded(path))


def _expanded(path: str) -> Path:
    """With the home directory for `~`. An unknown user's `~name` stays, and no such folder will be found."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises if there is no such user


def _same_path(one: Path, other: Path) -> bool:
    """Compares texts only, because the result must be the same on machines that do not have the folder."""
    return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100  Path.absolute keeps `..`


def read_registry(settings: ModelSettings) -> dict[str, RegistryEntry]:
    """Every model by name: those of `registry.toml`, and those of the operator's own file. An entry there replaces one
    of the same name; its folder may be relative to the file.

    Raises:
        ConfigurationError: a file is missing or invalid. The message explains it.
    """
    path = settings.models_dir / "registry.toml"
    try:
        shipped = _tables(path)
    except OSError:
        raise ConfigurationError(f"no registry at {path}: MASKQ_MODELS_DIR must be the folder `models`") from None
    families = shipped.get("families", {})
    entries = _entries(path, shipped, families)
    return entries | _own_entries(settings.registry, families) if settings.registry else entries


def _own_entries(path: Path, families: dict[str, Any]) -> dict[str, RegistryEntry]:
    try:
        tables = _tables(path)
    except FileNotFoundError:
        raise ConfigurationError(f"MASKQ_REGISTRY={path}: there is no such file on this machine") from None
    found = _entries(path, tables, families | tables.get("families", {}))
    return {name: _from_folder_of(path, entry) for name, entry in found.items()}


def _from_folder_of(path: Path, entry: RegistryEntry) -> RegistryEntry:
    folder = str(path.absolute().parent / _expanded(entry.folder)) if entry.folder else None
    return entry.model_copy(update={"folder": folder})


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not a registry: {error}") from None
    except (IsADirectoryError, PermissionError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def _entries(path: Path, tables: dict[str, Any], families: dict[str, Any]) -> dict[str, RegistryEntry]:
    if not isinstance(tables.get("models"), dict):
        raise ConfigurationError(f'{path} is not a registry: it has no table [models."NAME"]')
    return {
        name: _entry(f'{path} is not a registry: [models."{name}"]', name, table, families)
        for name, table in tables["models"].items()
    }


def _entry(where: str, name: str, table: Any, families: dict[str, Any]) -> RegistryEntry:
    """The fields of its family, overridden by those of the model itself."""
    if not _REGISTRY_NAME.fullmatch(name):
        raise ConfigurationError(f"{where}: a name is written like `cats` or `me/cats`, with A-Z a-z 0-9 . _ -")
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where} is not a table")
    family = families.get(table["family"]) if "family" in table else {}
    if family is None:
        raise ConfigurationError(f"{where}: there is no family {table['family']}; there are {', '.join(families)}")
    try:
        return RegistryEntry.model_validate({**family, **table})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigurationError(f"{where}: {wrong}") from None
