"""Results in the formats of other tools."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from maskq import Client, CocoDataset, MaskUnavailable, MissingPackage, packages
from pycocotools.coco import COCO

_SERVICE_ONLY = {"info", "truncated", "skipped"}
"""What the service's document says beside the data set."""


def test_coco_is_the_data_set_that_the_service_makes(client: Client, photo: Path) -> None:
    result = client.segment(photo, "cat")
    document = client._driver.run(client._driver.operations.document(result.job.id, "coco"))
    assert {**result.to_coco(), "info": None} == {
        **{name: value for name, value in document.items() if name not in _SERVICE_ONLY},
        "info": None,
    }


def test_many_results_are_one_data_set(client: Client, photo: Path, tmp_path: Path) -> None:
    results = [client.segment(photo, prompt) for prompt in ("cat", "dog", "cat")]
    data = CocoDataset(results)
    data.add(results[0], file_name="folder/other.png")
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data.json()))
    coco = COCO(str(path))
    assert [image["file_name"] for image in coco.dataset["images"]] == [*["photo.png"] * 3, "folder/other.png"]
    assert [each["category_id"] for each in coco.dataset["annotations"]] == [1, 2, 1, 1]
    masks = [coco.annToMask(each) for each in coco.dataset["annotations"]]
    np.testing.assert_array_equal(masks[1], results[1][0].mask)


def test_supervision_has_boxes_masks_and_numbers(client: Client, photo: Path) -> None:
    result = client.segment(photo, "cat")
    detections = result.to_supervision(classes=["dog", "segment cat"])
    assert detections.class_id is not None
    assert detections.mask is not None
    assert (detections.class_id.tolist(), detections.mask.sum()) == ([1], 1)
    for classes in (["dog"], []):
        nothing = result.to_supervision(classes)
        assert nothing.is_empty()
        assert len(nothing.data["class_name"]) == 0


def test_a_data_set_stays_as_it_was_if_a_result_has_no_run_lengths(client: Client, photo: Path) -> None:
    result = client.segment(photo, "cat")
    result[0].json["mask"] = {"format": "png"}
    data = CocoDataset()
    with pytest.raises(MaskUnavailable):
        data.add(result)
    assert data.json()["images"] == data.json()["categories"] == []


def test_label_studio_gets_the_names_of_the_callers_tags(client: Client, photo: Path) -> None:
    (region,) = client.segment(photo, "cat").to_labelstudio("masks", "photo")["result"]
    assert (region["from_name"], region["to_name"]) == ("masks", "photo")


@pytest.mark.parametrize(("module", "package"), [("fiftyone", "fiftyone"), ("cvat", "cvat_sdk")])
def test_modules_for_tools_name_the_extra_that_has_them(
    monkeypatch: pytest.MonkeyPatch, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"maskq.{module}", raising=False)
    with pytest.raises(MissingPackage, match=rf"maskq\[{module}\]"):
        import_module(f"maskq.{module}")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingPackage, match=r"maskq\[images\]"):
        packages.require("no_such_package", "images")
