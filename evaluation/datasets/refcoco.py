"""RefCOCO, RefCOCO+ and RefCOCOg in their published format (https://github.com/lichengunc/refer) as questions.

    FOLDER/refcoco/refs(unc).p        who is meant, by which sentences, in which split: a pickle
    FOLDER/refcoco/instances.json     COCO annotations of all objects
    FOLDER/images/mscoco/images/train2014/*.jpg

Loading a pickle runs whatever code it names. These hold dictionaries, lists, strings and numbers, so one that names
anything at all is refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.datasets.coco import look_up, read_instances, table, truth_of
from evaluation.example import DataError, Question, file_within

SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
"""Whose splits the papers report on."""
_IMAGES = Path("images/mscoco/images/train2014")


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain values and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise DataError(f"the pickle names {module_name}.{global_name}: it is more than data, and was not loaded")


def refcoco_questions(
    folder: Path, dataset: str, split: str, split_by: str | None = None, images: Path | None = None
) -> Iterator[Question]:
    """One question for each sentence of a split, in the order of their ids.

    Raises:
        DataError: the folder is not in the format, or has no such split.
    """
    refs = _read_refs(folder / dataset / f"refs({split_by or SPLIT_BY[dataset]}).p")
    chosen = [ref for ref in refs if ref["split"] == split]
    if not chosen:
        raise DataError(f"no split {split}; there are {', '.join(sorted({str(ref['split']) for ref in refs}))}")
    instances = read_instances(folder / dataset / "instances.json")
    annotations, pictures = table(instances, "annotations"), table(instances, "images")
    for ref in sorted(chosen, key=lambda ref: int(ref["ref_id"])):
        annotation = look_up(annotations, ref["ann_id"], "annotation")
        image = look_up(pictures, annotation["image_id"], "image")
        path = file_within(images or folder / _IMAGES, image["file_name"])
        for sentence in ref["sentences"]:
            text = str(sentence["sent"]).replace(";", ",")  # in a prompt, `;` begins another thing
            truths = [truth_of(annotation, image, text)]
            yield Question(f"sentence {sentence['sent_id']}", text, path.read_bytes, truths, refers_to_one=True)


def _read_refs(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            # Written by Python 2: its byte strings are text here.
            refs = _PlainUnpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is not a pickle that can be read") from None
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise DataError(f"{path} holds no list of references")
    return refs
