"""RefCOCO, RefCOCO+ and RefCOCOg in their published format (https://github.com/lichengunc/refer) as examples.

    FOLDER/refcoco/refs(unc).p        which object each sentence refers to, and in which split: a pickle
    FOLDER/refcoco/instances.json     COCO annotations of all objects
    FOLDER/images/mscoco/images/train2014/*.jpg

Loading a pickle runs the code that it names. These files contain only dictionaries, lists, strings and numbers, so a
pickle that names any code is refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.datasets.coco import look_up, read_instances, table, true_object
from evaluation.example import DataError, Example, file_within

SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
"""The authors of the splits that papers report on."""
_IMAGES = Path("images/mscoco/images/train2014")


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain values only.

    Raises:
        DataError: the pickle names code.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise DataError(f"the pickle names {module_name}.{global_name}: it is more than data, and was not loaded")


def refcoco_examples(
    folder: Path, dataset: str, split: str, split_by: str | None = None, images: Path | None = None
) -> Iterator[Example]:
    """Yield one example for each sentence of a split, in the order of the ids.

    Raises:
        DataError: the folder is not in the format of RefCOCO, or has no such split.
    """
    refs = _read_refs(folder / dataset / f"refs({split_by or SPLIT_BY[dataset]}).p")
    chosen = [ref for ref in refs if ref["split"] == split]
    if not chosen:
        raise DataError(f"no split {split}; there are {', '.join(sorted({str(ref['split']) for ref in refs}))}")
    instances = read_instances(folder / dataset / "instances.json")
    annotations, images_by_id = table(instances, "annotations"), table(instances, "images")
    for ref in sorted(chosen, key=lambda ref: int(ref["ref_id"])):
        annotation = look_up(annotations, ref["ann_id"], "annotation")
        image = look_up(images_by_id, annotation["image_id"], "image")
        path = file_within(images or folder / _IMAGES, image["file_name"])
        for sentence in ref["sentences"]:
            text = str(sentence["sent"]).replace(";", ",")  # `;` separates phrases in a prompt
            ground_truth = [true_object(annotation, image, text)]
            yield Example(f"sentence {sentence['sent_id']}", text, path.read_bytes, ground_truth, refers_to_one=True)


def _read_refs(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            # Python 2 wrote these files; its byte strings are read as text.
            refs = _PlainUnpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is not a readable pickle") from None
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise DataError(f"{path} does not contain a list of references")
    return refs
