"""Applies `MaskqModel` to a data set of FiftyOne, with its own database, and prints as JSON what the data set then has.
Runs in the environment of FiftyOne: python apply_model.py PROMPT FOLDER OPTIONS, the options of `apply_model` as JSON.

Of each image: its name, and of each object the label, the box as shares of the image, the confidence, and the pixels of
the mask as x, y in the box, or null. An image without labels has null.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import fiftyone
from maskq.fiftyone import MaskqModel


def _described(found: Any) -> list[Any]:
    pixels = None if found.mask is None else [[int(x), int(y)] for y, x in zip(*found.mask.nonzero(), strict=True)]
    shape = None if found.mask is None else list(found.mask.shape)
    return [found.label, found.bounding_box, found.confidence, shape, pixels]


if __name__ == "__main__":
    prompt, folder, options = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    data_set = fiftyone.Dataset.from_images([str(path) for path in sorted(folder.glob("*.png"))])
    data_set.add_sample_field("maskq", fiftyone.EmbeddedDocumentField, embedded_doc_type=fiftyone.Detections)
    model = MaskqModel(prompt, skip_failures=options.pop("keep_others", True))
    error = ""
    try:
        data_set.apply_model(model, label_field="maskq", **options)
    except Exception as raised:
        error = type(raised).__name__
    labels = {
        Path(sample.filepath).name: sample["maskq"] and [_described(each) for each in sample["maskq"].detections]
        for sample in data_set
    }
    print(json.dumps([labels, error]))
