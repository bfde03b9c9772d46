"""How well the tokens could say it: the truth itself, encoded, decoded and rendered like any answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco

from evaluation.example import Question, Rle, Truth
from evaluation.scoring import mask_ious
from worker.stages.encode_mask import encode_mask
from worker.stages.mask_vqvae import MaskCodec
from worker.stages.parse import Detection
from worker.stages.render import render_object


def token_upper_bound(questions: Sequence[Question], codec: MaskCodec) -> float | None:
    """Mean IoU over all true objects, or None if there is none: no answer in these tokens could do much better."""
    truths = [truth for question in questions for truth in question.truths]
    ious = [float(mask_ious([truth.mask], [_there_and_back(truth, codec)])[0, 0]) for truth in truths]
    return float(np.mean(ious)) if ious else None


def _there_and_back(truth: Truth, codec: MaskCodec) -> Rle:
    height, width = truth.mask["size"]
    mask = coco.decode(truth.mask) > 0
    if not mask.any():
        return truth.mask
    tokens = encode_mask(codec, mask)
    soft = codec.decode(np.array([tokens.codes], np.int32))[0]
    drawn = render_object(Detection(truth.label, tokens.box_yxyx, tokens.codes, 1.0), soft, width, height, [])
    return drawn.rle.model_dump(include={"size", "counts"}) if drawn.rle else truth.mask
