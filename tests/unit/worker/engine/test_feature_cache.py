import torch

from worker.engine.feature_cache import FeatureCache


def _features(value: float) -> torch.Tensor:
    return torch.full((4,), value, dtype=torch.float32)  # 16 bytes


def test_kept_features_do_not_change_with_the_original() -> None:
    cache = FeatureCache(max_bytes=64)
    batch = torch.zeros(2, 4)
    cache.put(b"a", batch[0])
    batch.fill_(1)
    kept = cache.get(b"a")
    assert kept is not None
    assert kept.tolist() == [0, 0, 0, 0]
    assert kept.untyped_storage().nbytes() == 16
    assert cache.get(b"b") is None


def test_the_least_recently_used_features_are_removed_first() -> None:
    cache = FeatureCache(max_bytes=40)
    for name in (b"a", b"b"):
        cache.put(name, _features(1))
    cache.get(b"a")
    cache.put(b"c", _features(1))
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c")] == [True, False, True]


def test_features_that_are_put_twice_count_once() -> None:
    cache = FeatureCache(max_bytes=32)
    for _ in range(5):
        cache.put(b"a", _features(1))
    cache.put(b"b", _features(1))
    assert cache.get(b"a") is not None


def test_features_above_the_limit_are_not_kept() -> None:
    cache = FeatureCache(max_bytes=15)
    cache.put(b"a", _features(1))
    assert cache.get(b"a") is None
