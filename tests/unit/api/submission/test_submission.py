"""The fields of a submission: values that are accepted, and errors that name the field and the reason."""

from __future__ import annotations

import base64
import json
import re

import pytest

from api.submission.fields import DeploymentLimits
from api.submission.form import FilePart
from api.submission.submission import FormSubmission, JsonSubmission, Submission, validate
from api.submission.submission import UrlencodedSubmission as UrlSubmission
from shared.domain.job import MaskFormat, Priority
from shared.domain.webhook import WebhookEvent
from shared.errors import InvalidField, MaskqError, PayloadTooLarge, UnsupportedImage

_LIMITS = DeploymentLimits(["demo", "other"], max_image_bytes=100)
_URL = "https://example.com/cat.png"


def _form(**fields: object) -> FormSubmission:
    return validate(FormSubmission, {"prompt": "cat", **fields}, _LIMITS)


def _json(**fields: object) -> JsonSubmission:
    return validate(JsonSubmission, {"prompt": "cat", **fields}, _LIMITS)


def test_a_form_is_read_from_texts_and_files() -> None:
    submission = _form(
        image_file=b"x", model_id="other", timeout="30", priority="high", mask_format=["crop", "rle, crop"]
    )
    assert (submission.prompt, submission.upload) == ("segment cat", b"x")
    assert (submission.model_id, submission.timeout, submission.priority) == ("other", 30.0, Priority.HIGH)
    assert submission.mask_format == (MaskFormat.CROP, MaskFormat.RLE)


def test_json_may_have_numbers_lists_and_null() -> None:
    submission = _json(
        image_url=_URL,
        image_base64=None,
        timeout=1.5,
        mask_format=["png"],
        webhook_events="job.completed",
        priority=None,
    )
    assert (submission.upload, submission.image_url, submission.timeout) == (None, _URL, 1.5)
    assert (submission.mask_format, submission.priority) == ((MaskFormat.PNG,), None)
    assert submission.webhook_events == (WebhookEvent.JOB_COMPLETED,)


@pytest.mark.parametrize("tiles", ["1", 1, "1x1"])
def test_one_tile_is_none(tiles: object) -> None:
    assert _json(image_url=_URL, tiles=tiles).tiles == "1"


@pytest.mark.parametrize(
    ("given", "threshold"),
    [
        ("0.5", 0.5),
        (0, 0.0),
        ('{"Cat": 0.3, " big  dog ": 1}', {"Cat": 0.3, "big dog": 1.0}),
        ({"cat": 1}, {"cat": 1.0}),
    ],
)
def test_a_threshold_is_a_number_or_numbers_by_phrase(given: object, threshold: object) -> None:
    assert _json(image_url=_URL, prompt="cat ; Big dog", score_threshold=given).score_threshold == threshold


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", " \n"])
def test_base64_is_decoded(prefix: str) -> None:
    text = prefix + base64.b64encode(b"image").decode()
    assert _json(image_base64=text).upload == b"image"
    assert _json(image_base64=text.encode()).upload == b"image"


def test_a_data_url_is_an_image_and_no_url() -> None:
    for submission in (_json(image_url="data:image/png;base64,aW1hZ2U="), _form(image_url="data:,image")):
        assert (submission.upload, submission.url, submission.file_name) == (b"image", "", "")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mask_formats", "mask_format"),
        ("mask_format[]", "mask_format"),
        ("mask_format[0]", "mask_format"),
        ("maskFormat", "mask_format"),
        ("Mask-Format", "mask_format"),
        ("format", "mask_format"),
        ("webhook", "webhook_url"),
        ("callback_url", "webhook_url"),
        ("webhookUrl", "webhook_url"),
        ("webhook_events_filter", "webhook_events"),
        ("model", "model_id"),
        ("timeot", "timeout"),
        ("promt", "prompt"),
        ("labels", "prompt"),
        ("priorty", "priority"),
        ("imageUrl", "image_url"),
        ("url", "image_url"),
        ("options[mask_format]", "mask_format"),
        ("options.maskFormat", "mask_format"),
        ("input[webhook]", "webhook_url"),
        ("nms", "duplicates"),
        ("iou_threshold", "duplicates"),
        ("sahi", "tiles"),
        ("wait", "the header Prefer: wait=N"),
        ("idempotencyKey", "the header Idempotency-Key"),
        ("api_key", "the header Authorization"),
        ("meta", "metadata"),
        ("reference", "ref"),
    ],
)
def test_a_misspelt_or_foreign_field_is_refused_with_the_nearest_one(name: str, nearest: str) -> None:
    for submit, image in ((_form, {"image_file": b"x"}), (_json, {"image_base64": "AAAA"})):
        with pytest.raises(InvalidField) as caught:
            submit(**image, **{name: "1"})
        assert caught.value.detail == f"{name}: unknown field; did you mean {nearest}?"


@pytest.mark.parametrize("name", ["image", "file", "image_file", "image_base64", "img", "files[]"])
def test_a_foreign_name_of_the_image_is_refused_with_those_of_this_kind_of_request(name: str) -> None:
    urlencoded = {"prompt": "cat", name: "x"}
    for model, fields in (
        (FormSubmission, "image_file or "),
        (JsonSubmission, "image_base64 or "),
        (UrlSubmission, ""),
    ):
        if name not in model.image_fields():
            with pytest.raises(
                InvalidField, match=rf"^{re.escape(name)}: unknown field; did you mean {fields}image_url\?"
            ):
                validate(model, urlencoded, _LIMITS)


@pytest.mark.parametrize("name", ["colour", "max_objects", "options[]", "a.b"])
def test_a_field_that_resembles_none_is_refused_with_all_names(name: str) -> None:
    with pytest.raises(InvalidField, match=rf"^{re.escape(name)}: unknown field; known: prompt, image_url, model_id, "):
        _form(image_file=b"x", **{name: "red"})


def test_names_are_read_in_any_case_and_a_number_without_its_zero() -> None:
    submission = _form(image_file=b"x", priority="HIGH", mask_format="RLE, Png", duplicates="Keep", tiles="2X2")
    assert (submission.priority, submission.duplicates, submission.tiles) == ("high", "keep", "2x2")
    assert submission.mask_format == (MaskFormat.RLE, MaskFormat.PNG)
    assert _form(image_file=b"x", score_threshold=".5").score_threshold == 0.5


_OPTIONS = (
    *("image_url", "model_id", "timeout", "priority", "mask_format", "tiles", "duplicates", "score_threshold"),
    *("webhook_url", "webhook_events", "ref", "metadata"),
)


@pytest.mark.parametrize("option", _OPTIONS)
def test_an_option_that_was_left_empty_in_a_form_was_left_out(option: str) -> None:
    assert getattr(_form(image_file=b"x", **{option: ""}), option) is None


def test_a_text_may_come_as_a_file() -> None:
    submission = _form(
        prompt=FilePart(b"\xef\xbb\xbfred cat\n"), image_file=b"x", metadata=FilePart(b'{"a": 1}', "blob")
    )
    assert (submission.prompt, submission.metadata) == ("segment red cat", '{"a":1}')


def test_names_and_reasons_are_bounded() -> None:
    with pytest.raises(InvalidField) as caught:
        _json(image_url=_URL, **{f"\ud800\x00{'x' * 5_000}{number}": 1 for number in range(50)})
    assert len(caught.value.detail) < 4_000
    assert caught.value.detail.encode().isascii()
    assert caught.value.detail.endswith("; and 40 more")
    with pytest.raises(InvalidField, match="has 100,002 fields"):
        _json(image_url=_URL, **{str(number): 1 for number in range(100_000)})


def test_what_is_the_client_s_own_is_kept() -> None:
    metadata = {"id": 7, "tags": ["a", {"b": None}], "größe": 1.5}
    for submission in (
        _json(image_url=_URL, ref="scan 7", metadata=metadata),
        _form(image_url=_URL, ref="scan 7", metadata=json.dumps(metadata)),
    ):
        assert json.loads(submission.metadata or "") == metadata
        assert (submission.ref, submission.file_name) == ("scan 7", "cat.png")
    plain = _form(image_file=FilePart(b"x", "C:\\scans\\7.png"), ref="", metadata="")
    assert (plain.ref, plain.metadata, plain.file_name) == (None, None, "7.png")


def test_an_empty_file_field_beside_a_url_is_ignored() -> None:
    assert _form(image_file=b"", image_url=_URL).upload is None


_WRONG: dict[str, tuple[type[Submission], dict[str, object], str]] = {
    "no prompt": (FormSubmission, {"image_file": b"x"}, "prompt: is required"),
    "null prompt": (JsonSubmission, {"prompt": None, "image_url": _URL}, "prompt: is required"),
    "prompt twice": (FormSubmission, {"prompt": ["a", "b"], "image_file": b"x"}, "prompt: must be text, given once"),
    "prompt as a file": (FormSubmission, {"prompt": b"cat", "image_file": b"x"}, "prompt: must be text, given once"),
    "priority as a file": (FormSubmission, {"priority": b"high"}, "priority: must be text, given once"),
    "unknown model": (JsonSubmission, {"model_id": "evil"}, "model_id: this deployment serves demo, other"),
    "unknown priority": (JsonSubmission, {"priority": "urgent"}, "priority: must be 'high', 'normal' or 'low'"),
    "unknown format": (JsonSubmission, {"mask_format": "bitmap"}, "mask_format: must be 'rle', 'polygon', 'png', "),
    "no format": (JsonSubmission, {"mask_format": []}, "mask_format: must name at least one"),
    "format of numbers": (JsonSubmission, {"mask_format": [1]}, "mask_format: must be text, or a list of texts"),
    "unknown event": (JsonSubmission, {"webhook_events": ["job.started"]}, "webhook_events: must be 'job.completed'"),
    "timeout of words": (
        FormSubmission,
        {"timeout": "soon"},
        "timeout: must be a number of seconds above 0",
    ),
    "timeout true": (JsonSubmission, {"timeout": True}, "timeout: must be a number of seconds above 0"),
    "a list of things": (JsonSubmission, {"prompt": ["cat", "dog"]}, "separate several things with `;`: `cat ; dog`"),
    "tiles as a number": (JsonSubmission, {"tiles": 4}, "tiles: must be auto, 1, or COLUMNSxROWS"),
    "timeout of 0": (JsonSubmission, {"timeout": 0}, "timeout: must be a number of seconds above 0 and at most 86400"),
    "text as a file": (FormSubmission, {"image_file": "x"}, "image_file: must be one file part: with curl, -F"),
    "two files": (FormSubmission, {"image_file": [b"x", b"y"]}, "image_file: must be one file part: with curl, -F"),
    "bytes as a prompt": (
        FormSubmission,
        {"prompt": FilePart(b"c\xe4t")},
        "prompt: must be text, given once; this is a f",
    ),
    "base64 as a URL": (
        JsonSubmission,
        {"image_url": "/9j/4AAQSkZJRg=="},
        "image_url: is base64, and no URL; send it as",
    ),
    "data URL of nothing": (
        JsonSubmission,
        {"image_url": "data:image/png"},
        "image_url: is a data: URL that cannot be d",
    ),
    "metadata as text": (JsonSubmission, {"metadata": "x"}, "metadata: must be a JSON object; this is not JSON"),
    "metadata as a list": (JsonSubmission, {"metadata": [1]}, "metadata: must be a JSON object"),
    "long ref": (JsonSubmission, {"ref": "x" * 201}, "ref: has 201 characters; at most 200 are allowed"),
    "ref as a number": (JsonSubmission, {"ref": 7}, "ref: must be text, given once"),
    "a URL as base64": (JsonSubmission, {"image_base64": _URL}, "image_base64: is a URL; send it as image_url"),
    "not base64": (JsonSubmission, {"image_base64": "!"}, "image_base64: is not base64"),
    "too many tiles": (JsonSubmission, {"tiles": "5x4"}, "tiles: must be auto, 1, or COLUMNSxROWS such as 3x1 or 2x2"),
    "tiles of a list": (JsonSubmission, {"tiles": ["2x2"]}, "tiles: must be text, given once"),
    "unknown duplicates": (JsonSubmission, {"duplicates": "drop"}, "duplicates: must be 'merge' or 'keep'"),
    "threshold above 1": (JsonSubmission, {"score_threshold": 1.5}, "score_threshold: must be a number from 0 to 1"),
    "threshold of words": (FormSubmission, {"score_threshold": "high"}, "score_threshold: must be a number from 0"),
    "no threshold": (JsonSubmission, {"score_threshold": {}}, "score_threshold: must be a number from 0 to 1"),
    "threshold not a number": (FormSubmission, {"score_threshold": "NaN"}, "score_threshold: must be a number from 0"),
    "threshold true": (JsonSubmission, {"score_threshold": True}, "score_threshold: must be a number from 0 to 1"),
    "threshold by an empty phrase": (JsonSubmission, {"score_threshold": {"": 0.5}}, "score_threshold: names a phrase"),
    "threshold of text by phrase": (FormSubmission, {"score_threshold": '{"cat": "x"}'}, "score_threshold: must be a"),
    "threshold for another thing": (
        JsonSubmission,
        {"prompt": "cat", "image_url": _URL, "score_threshold": {"cow": 0.5}},
        "score_threshold: the prompt does not ask for cow",
    ),
    "no image": (FormSubmission, {"prompt": "cat"}, "image_file or image_url: send exactly one image"),
    "two images": (
        JsonSubmission,
        {"prompt": "cat", "image_base64": "AAAA", "image_url": _URL},
        "image_base64 or im",
    ),
}


@pytest.mark.parametrize("name", _WRONG)
def test_a_wrong_field_is_named_with_the_reason(name: str) -> None:
    model, fields, detail = _WRONG[name]
    with pytest.raises(InvalidField) as caught:
        validate(model, fields, _LIMITS)
    assert detail in caught.value.detail


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidField) as caught:
        _json(timeout=0, priority="urgent", image_base64="!")
    assert {each.partition(":")[0] for each in caught.value.detail.split("; ")} == {
        "timeout",
        "priority",
        "image_base64",
    }
    with pytest.raises(InvalidField) as caught:
        validate(FormSubmission, {"prompt": "detect cat", "priority": "urgent", "colour": "red"}, _LIMITS)
    for name in ("prompt: ", "priority: ", "colour: ", "image_file or image_url: "):
        assert name in caught.value.detail


@pytest.mark.parametrize(
    ("image", "error"), [(b"", UnsupportedImage), (b"x" * 101, PayloadTooLarge)], ids=["empty", "too large"]
)
def test_an_image_of_a_wrong_size_has_an_error_of_its_own(image: bytes, error: type[MaskqError]) -> None:
    with pytest.raises(error):
        _form(image_file=image)


def test_many_wrong_names_are_one_reason() -> None:
    with pytest.raises(InvalidField) as caught:
        _json(image_url=_URL, mask_format=[str(number) for number in range(100_000)])
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_data_url_is_an_image_in_every_field_of_the_image(size: int) -> None:
    url = b"data:image/png;base64," + base64.b64encode(b"x" * size)
    limits = DeploymentLimits(["demo"], max_image_bytes=size)
    for model, fields in (
        (JsonSubmission, {"image_url": url}),
        (JsonSubmission, {"image_base64": url}),
        (FormSubmission, {"image_url": url}),
        (FormSubmission, {"image_file": url.decode()}),
    ):
        assert validate(model, {"prompt": "cat", **fields}, limits).upload == b"x" * size
