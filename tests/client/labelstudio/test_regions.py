"""Masks as regions for Label Studio, from a real service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from maskq import Client, MaskUnavailable

from tests.client.labelstudio import decoded


def test_an_object_is_a_region_with_the_names_of_the_callers_tags(phrase_service: str, photo: Path) -> None:
    with Client(phrase_service) as maskq:
        tags = {"from_name": "masks", "to_name": "photo"}
        result = maskq.segment(photo, "cat ; box", mask_format="labelstudio", from_name="masks", to_name="photo")
        cat, box = result
        assert cat.region is not None
        assert cat.region.items() >= tags.items()
        assert cat.region["value"]["brushlabels"] == ["cat"]
        assert cat.mask is not None
        np.testing.assert_array_equal(decoded.brush(cat.region), cat.mask)
        assert box.region is None
        assert result.to_labelstudio()["result"] == [cat.region]
        (other,) = result.to_labelstudio(to_name="picture")["result"]
        assert (other["from_name"], other["to_name"]) == ("masks", "picture")
        with pytest.raises(MaskUnavailable, match="labelstudio"):
            _ = maskq.segment(photo, "cat")[0].region
