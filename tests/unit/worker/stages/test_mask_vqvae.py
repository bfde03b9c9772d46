from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from shared.errors import CheckpointError
from tests.unit.worker.reference_vae import ReferenceVae
from worker.stages.mask_vqvae import MaskCodec, load_vae


@pytest.fixture(scope="module")
def reference() -> ReferenceVae:
    """Random weights."""
    torch.manual_seed(0)
    vae = ReferenceVae().eval()
    last = vae.decoder[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    with torch.inference_mode():  # scale its output to [-1, 1], like that of a trained decoder
        written = vae.decode(torch.randint(0, 128, (64, 16)))
        last.weight *= 0.5 / written.std()
        last.bias.copy_((last.bias - written.mean()) * 0.5 / written.std())
    return vae


@pytest.fixture(scope="module")
def codec(reference: ReferenceVae, tmp_path_factory: pytest.TempPathFactory) -> MaskCodec:
    path = tmp_path_factory.mktemp("vae") / "vae-oid.npz"
    reference.save(path)
    return load_vae(path)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 64, 70])
def test_decoding_equals_an_independent_implementation(codec: MaskCodec, reference: ReferenceVae, count: int) -> None:
    codes = np.random.default_rng(count).integers(0, 128, (count, 16)).astype(np.int32)
    with torch.inference_mode():
        expected = reference.decode(torch.from_numpy(codes).long()).clamp(-1, 1).numpy()
    decoded = codec.decode(codes)
    assert decoded.shape == (count, 64, 64)
    assert decoded.std() > 0.3
    assert np.abs(decoded - expected).max() <= 1e-4
    undecided = np.abs(expected) <= 1e-4
    assert ((decoded > 0) == (expected > 0))[~undecided].all()
    assert undecided.mean() < 1e-2


@pytest.mark.slow
def test_encoding_equals_an_independent_implementation(codec: MaskCodec, reference: ReferenceVae) -> None:
    masks = np.where(np.random.default_rng(0).random((9, 64, 64)) < 0.5, -1, 1).astype(np.float32)
    with torch.inference_mode():
        expected = reference.encode(torch.from_numpy(masks)).numpy()
    assert (codec.encode(masks) == expected).all()


def test_an_empty_batch_gives_an_empty_result(codec: MaskCodec) -> None:
    assert codec.decode(np.zeros((0, 16), np.int32)).shape == (0, 64, 64)
    assert codec.encode(np.zeros((0, 64, 64), np.float32)).shape == (0, 16)


@pytest.mark.slow
def test_nothing_is_compiled_after_the_warm_up(codec: MaskCodec) -> None:
    events: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: events.append(event))
    codec.warm_up()
    assert any("compile" in event for event in events)
    events.clear()
    for count in (1, 2, 3, 5, 7, 11, 16, 33, 64, 100):
        codec.decode(np.zeros((count, 16), np.int32))
    jax.monitoring.clear_event_listeners()
    assert not any("compile" in event for event in events)


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vae.npz").write_bytes(b"not an archive")
    with pytest.raises(CheckpointError, match=r"vae\.npz is not a NumPy archive of plain arrays"):
        load_vae(tmp_path / "vae.npz")


def test_an_archive_of_pickles_is_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "vae.npz", evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError):
        load_vae(tmp_path / "vae.npz")


@pytest.mark.parametrize("change", ["missing", "transposed"])
def test_wrong_arrays_are_refused(reference: ReferenceVae, tmp_path: Path, change: str) -> None:
    if change == "missing":
        reference.save(tmp_path / "vae.npz", without="decoder.4.bias")
    else:
        weight = reference.state_dict()["decoder.4.weight"]
        reference.save(tmp_path / "vae.npz", **{"decoder.4.weight": weight.permute(3, 2, 1, 0)})
    with pytest.raises(CheckpointError, match="another VQ-VAE"):
        load_vae(tmp_path / "vae.npz")
