from hypothesis import given
from hypothesis import strategies as st

from shared.domain.coco_rle import counts_to_runs, runs_to_bytes, runs_to_counts

_RUNS = st.lists(st.integers(0, 2**28), max_size=50)


@given(_RUNS)
def test_unpacking_is_the_inverse_of_packing(runs: list[int]) -> None:
    assert counts_to_runs(runs_to_counts(runs)) == runs


def test_the_string_is_the_same_as_that_of_pycocotools() -> None:
    from pycocotools import mask as coco

    for runs in ([25], [0, 25], [5, 10, 10], [1, 1, 1, 1, 21], [0, 1, 1, 1, 1, 1, 20]):
        packed = coco.frPyObjects({"size": [5, 5], "counts": runs}, 5, 5)["counts"].decode()
        assert runs_to_counts(runs) == packed


def test_expanded_runs_alternate_between_outside_and_inside() -> None:
    assert runs_to_bytes([2, 1, 0, 3]) == b"\x00\x00\xff\xff\xff\xff"
