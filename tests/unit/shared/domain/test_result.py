from shared.domain.job import MaskFormat
from shared.domain.result import PngMask, RleMask, SegmentationResult
from testing.factories import segmentation_result, segmented_object

_RLE = RleMask(size=(4, 4), counts="0@")
_PNG = PngMask(format=MaskFormat.PNG, size=(4, 4), data="")


def _result(mask: RleMask | None, *others: PngMask) -> SegmentationResult:
    return segmentation_result(segmented_object(mask=mask, alternate_masks=list(others)))


def test_masks_are_in_the_requested_formats_and_no_other() -> None:
    stored = _result(_RLE, _PNG)
    png_only = stored.in_formats([MaskFormat.PNG]).objects[0]
    assert (png_only.mask, png_only.alternate_masks) == (_PNG, [])
    both = stored.in_formats([MaskFormat.PNG, MaskFormat.RLE]).objects[0]
    assert (both.mask, both.alternate_masks) == (_PNG, [_RLE])


def test_an_object_without_a_mask_has_none_in_any_format() -> None:
    found = _result(None).in_formats([MaskFormat.RLE]).objects[0]
    assert (found.mask, found.alternate_masks, found.rle) == (None, [], None)


def test_an_empty_label_is_none_and_has_a_name_for_tools() -> None:
    found = segmented_object(label="")
    assert (found.label, found.name, segmented_object(label="cat").name) == (None, "unknown", "cat")


def test_a_result_is_unchanged_after_storing_it_as_json() -> None:
    stored = _result(_RLE, _PNG)
    assert SegmentationResult.model_validate_json(stored.model_dump_json()) == stored
