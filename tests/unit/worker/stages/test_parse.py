import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.paligemma import SPATIAL_TOKEN, mask_token
from testing.factories import written_answer
from worker.stages.parse import Detection, SkipReason, parse_answer

BOX = "<loc0100><loc0200><loc0300><loc0400>"
OTHER_BOX = "<loc0000><loc0000><loc1023><loc1023>"
CODES = "".join(map(mask_token, range(16)))
OTHER_CODES = "".join(map(mask_token, range(112, 128)))
OBJECT = BOX + CODES

_A = (100, 200, 300, 400)
_B = (0, 0, 1023, 1023)

# answer, phrases of the prompt, truncated -> (label, box, has a mask)..., reasons of skipped text
_ROWS = [
    # nothing
    ("", ["cat"], False, [], []),
    ("   ", ["cat"], False, [], []),
    (" ; ", ["cat"], False, [], []),
    # one object
    (f"{OBJECT} cat", ["cat"], False, [("cat", _A, True)], []),
    (f"{OBJECT}cat", ["cat"], False, [("cat", _A, True)], []),
    (f"{OBJECT} cat\n", ["cat"], False, [("cat", _A, True)], []),
    (f"{OBJECT} red circle", ["red circle"], False, [("red circle", _A, True)], []),
    (f"{OBJECT} cat ;", ["cat"], False, [("cat", _A, True)], []),
    (f" {OBJECT} cat", ["cat"], False, [("cat", _A, True)], []),
    # the label is what the model wrote, not the phrase of the prompt
    (f"{OBJECT} lynx", ["cat"], False, [("lynx", _A, True)], []),
    # no label: the only phrase of the prompt, or the only one without an object, or none if several may be meant
    (OBJECT, ["cat"], False, [("cat", _A, True)], []),
    (OBJECT, ["cat", "dog"], False, [(None, _A, True)], []),
    (f"{OBJECT} ; ", ["cat", "dog"], False, [(None, _A, True)], []),
    (f"{OBJECT} cat ; {OBJECT}", ["cat", "dog"], False, [("cat", _A, True), ("dog", _A, True)], []),
    (f"{OBJECT} ; {OBJECT} dog", ["cat", "dog"], False, [("cat", _A, True), ("dog", _A, True)], []),
    (f"{OBJECT} cat ; {OBJECT}", ["cat", "dog", "cow"], False, [("cat", _A, True), (None, _A, True)], []),
    (f"{OBJECT}{OBJECT}", ["cat", "dog"], False, [(None, _A, True)] * 2, []),
    (OBJECT, [], False, [(None, _A, True)], []),
    # a label that was cut short: the only phrase that begins with it
    (f"{OBJECT} red ci", ["red circle", "star"], True, [("red circle", _A, True)], []),
    (f"{OBJECT} red", ["red circle", "red star"], True, [("red", _A, True)], []),
    (f"{OBJECT} red", ["red circle"], False, [("red", _A, True)], []),
    (f"{OBJECT} red ; {BOX}", ["red circle"], True, [("red", _A, True)], [SkipReason.CUT_SHORT]),
    # several objects
    (f"{OBJECT} cat ; {OTHER_BOX}{OTHER_CODES} cat", ["cat"], False, [("cat", _A, True), ("cat", _B, True)], []),
    (f"{OBJECT} cat ; {OTHER_BOX}{OTHER_CODES} dog", ["cat", "dog"], False, [("cat", _A, True), ("dog", _B, True)], []),
    (f"{OBJECT} cat;{OBJECT} cat", ["cat"], False, [("cat", _A, True)] * 2, []),
    (f"{OBJECT} cat {OBJECT} cat", ["cat"], False, [("cat", _A, True)] * 2, []),
    (" ; ".join([f"{OBJECT} cat"] * 7), ["cat"], False, [("cat", _A, True)] * 7, []),
    # objects without separators, with a label only after the last
    (f"{OBJECT}{OTHER_BOX}{OTHER_CODES} cat", ["cat"], False, [("cat", _A, True), ("cat", _B, True)], []),
    (f"{OBJECT}{OBJECT} dog", ["cat", "dog"], False, [("cat", _A, True), ("dog", _A, True)], []),
    # boxes without masks
    (f"{BOX} cat", ["cat"], False, [("cat", _A, False)], []),
    (f"{BOX} cat ; {OBJECT} cat", ["cat"], False, [("cat", _A, False), ("cat", _A, True)], []),
    (f"{BOX}{OTHER_BOX} cat", ["cat"], False, [("cat", _A, False), ("cat", _B, False)], []),
    (f"{BOX}{OTHER_BOX}{OTHER_CODES} cat", ["cat"], False, [("cat", _A, False), ("cat", _B, True)], []),
    # the whole image
    (f"{OTHER_BOX}{OTHER_CODES} cat", ["cat"], False, [("cat", _B, True)], []),
    # cut short: the last object is incomplete, those before it stay
    (f"{OBJECT} cat ; {BOX}<seg001><seg002>", ["cat"], True, [("cat", _A, True)], [SkipReason.CUT_SHORT]),
    (f"{OBJECT} cat ; <loc0001><loc0002>", ["cat"], True, [("cat", _A, True)], [SkipReason.CUT_SHORT]),
    (f"{OBJECT} cat ; {BOX}", ["cat"], True, [("cat", _A, True)], [SkipReason.CUT_SHORT]),
    (f"{OBJECT} ca", ["cat"], True, [("cat", _A, True)], []),
    (OBJECT, ["cat"], True, [("cat", _A, True)], []),
    # the same without truncation is a wrong number of tokens
    (f"{BOX}<seg001><seg002> cat", ["cat"], False, [], [SkipReason.WRONG_MASK]),
    (f"{BOX}{CODES[:-8]} cat", ["cat"], False, [], [SkipReason.WRONG_MASK]),
    # too many or too few tokens
    (f"{BOX}{CODES}<seg001> cat", ["cat"], False, [], [SkipReason.WRONG_MASK]),
    ("<loc0001><loc0002><loc0003> cat", ["cat"], False, [], [SkipReason.WRONG_BOX]),
    (f"<loc0001><loc0002><loc0003>{CODES} cat", ["cat"], False, [], [SkipReason.WRONG_BOX]),
    (f"{BOX}<loc0500> cat", ["cat"], False, [("cat", _A, False)], [SkipReason.WRONG_BOX]),
    (f"{CODES} cat", ["cat"], False, [], [SkipReason.WRONG_BOX]),
    ("<loc0001> cat", ["cat"], False, [], [SkipReason.WRONG_BOX]),
    (f"{CODES}{OBJECT} cat", ["cat"], False, [("cat", _A, True)], [SkipReason.WRONG_BOX]),
    # an invalid object does not affect its neighbours
    (
        f"{OBJECT} cat ; {BOX}<seg001> cat ; {OBJECT} cat",
        ["cat"],
        False,
        [("cat", _A, True)] * 2,
        [SkipReason.WRONG_MASK],
    ),
    # boxes without an inside
    (f"<loc0300><loc0200><loc0100><loc0400>{CODES} cat", ["cat"], False, [], [SkipReason.EMPTY_BOX]),
    (f"<loc0100><loc0400><loc0300><loc0200>{CODES} cat", ["cat"], False, [], [SkipReason.EMPTY_BOX]),
    (f"<loc0100><loc0200><loc0100><loc0400>{CODES} cat", ["cat"], False, [], [SkipReason.EMPTY_BOX]),
    # numbers without a token
    (f"<loc1024><loc0200><loc1030><loc0400>{CODES} cat", ["cat"], False, [], [SkipReason.UNKNOWN_TOKEN]),
    (f"{BOX}{CODES[:-8]}<seg128> cat", ["cat"], False, [], [SkipReason.UNKNOWN_TOKEN]),
    # text without an object
    ("I see no cat.", ["cat"], False, [], [SkipReason.STRAY_TEXT]),
    (f"cat {OBJECT} cat", ["cat"], False, [("cat", _A, True)], [SkipReason.STRAY_TEXT]),
    (f"{OBJECT} cat ; dog", ["cat", "dog"], False, [("cat", _A, True)], [SkipReason.STRAY_TEXT]),
    (f"{OBJECT} cat ; dog ; {OBJECT} cat", ["cat"], False, [("cat", _A, True)] * 2, [SkipReason.STRAY_TEXT]),
    ("<loc12><seg1> cat", ["cat"], False, [], [SkipReason.STRAY_TEXT]),
    ("cat ; dog", ["cat"], False, [], [SkipReason.STRAY_TEXT, SkipReason.STRAY_TEXT]),
]


@pytest.mark.parametrize(("text", "phrases", "truncated", "objects", "reasons"), _ROWS)
def test_an_answer_becomes_objects_and_skipped_text(
    text: str, phrases: list[str], truncated: bool, objects: list[tuple[object, ...]], reasons: list[SkipReason]
) -> None:
    answer = parse_answer(text, [0.0] * 1000, phrases=phrases, truncated=truncated)
    found = [(each.label, each.box_yxyx, each.codes is not None) for each in answer.detections]
    assert found == objects
    assert [each.reason for each in answer.skipped] == reasons


def test_codes_are_kept_in_their_order() -> None:
    detection = parse_answer(f"{OTHER_BOX}{OTHER_CODES} cat", [0.0] * 20).detections[0]
    assert detection == Detection("cat", _B, tuple(range(112, 128)), 1.0)


def test_the_score_is_the_geometric_mean_over_the_object_s_own_location_tokens() -> None:
    mask = [math.log(0.1)] * 16
    logprobs = [*[math.log(0.9)] * 4, *mask, *[math.log(0.5)] * 2, *[math.log(0.25)] * 2, *mask, *[math.log(0.7)] * 4]
    answer = parse_answer(f"{OBJECT} cat ; {OBJECT} cat ; {BOX} cat", logprobs)
    assert [each.score for each in answer.detections] == pytest.approx([0.9, math.sqrt(0.5 * 0.25), 0.7])


def test_skipped_text_is_returned() -> None:
    skipped = parse_answer(f"hello ; {BOX}<seg001> cat", [0.0] * 5).skipped
    assert [each.text for each in skipped] == ["hello", f"{BOX}<seg001> cat"]


_OBJECTS = st.tuples(
    st.tuples(*[st.integers(0, 511)] * 2, *[st.integers(512, 1023)] * 2),
    st.one_of(st.just(()), st.tuples(*[st.integers(0, 127)] * 16)),
    st.sampled_from(["cat", "red circle"]),
)


@given(st.lists(_OBJECTS, max_size=5))
def test_a_written_answer_is_read_back(objects: list[tuple[tuple[int, ...], tuple[int, ...], str]]) -> None:
    answer = parse_answer(written_answer(objects), [0.0] * 100)
    read = [(each.box_yxyx, each.codes or (), each.label) for each in answer.detections]
    assert (read, answer.skipped) == (objects, [])


_WORDS = st.sampled_from(
    ["<loc0001>", "<loc0900>", "<loc1023>", "<seg007>", OBJECT, BOX, CODES, " ; ", " cat", "\n", "<"]
)


@given(st.lists(_WORDS, max_size=12).map("".join), st.booleans())
def test_every_token_is_in_an_object_or_in_skipped_text(text: str, truncated: bool) -> None:
    answer = parse_answer(text, [0.0] * 1000, truncated=truncated)
    in_objects = sum(4 + len(each.codes or ()) for each in answer.detections)
    in_skipped = sum(len(SPATIAL_TOKEN.findall(each.text)) for each in answer.skipped)
    assert in_objects + in_skipped == len(SPATIAL_TOKEN.findall(text))
