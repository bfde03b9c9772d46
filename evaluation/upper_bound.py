"""The upper bound of the token format: the ground truth itself, encoded, decoded and rendered like an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco

from evaluation.example import Example, Rle, TrueObject
from evaluation.scoring import mask_ious
from worker.stages.encode_mask import encode_mask
from worker.stages.mask_vqvae import MaskCodec
from worker.stages.parse import Detection
from worker.stages.place import place
from worker.stages.render import render_object


def token_upper_bound(examples: Sequence[Example], codec: MaskCodec) -> float | None:
    """Mean IoU over all true objects, None without any. No answer in these tokens could do much better."""
    truths = [truth for example in examples for truth in example.ground_truth]
    ious = [float(mask_ious([truth.mask], [_encode_and_decode(truth, codec)])[0, 0]) for truth in truths]
    return float(np.mean(ious)) if ious else None


def _encode_and_decode(truth: TrueObject, codec: MaskCodec) -> Rle:
    height, width = truth.mask["size"]
    mask = coco.decode(truth.mask) > 0
    if not mask.any():
        return truth.mask
    tokens = encode_mask(codec, mask)
    soft = codec.decode(np.array([tokens.codes], np.int32))[0]
    found = place(Detection(truth.label, tokens.box_yxyx, tokens.codes, 1.0), soft, (width, height))
    rle = render_object(found, []).rle
    return rle.model_dump(include={"size", "counts"}) if rle else truth.mask
