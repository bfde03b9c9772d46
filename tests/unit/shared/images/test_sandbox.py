"""Child processes that decode images: no image may harm the process that uses them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from shared.errors import ImageTooLarge, ImageUnreadable, MaskqError, UnsupportedImage
from shared.images.decode import decode
from shared.images.sandbox import DecodingPool
from shared.settings import Settings
from shared.settings.several_processes import IMAGE_FORMATS
from testing.pictures import costly_images, encoded, exif_with_orientation, flat_png, gradient

_MANY = 25_000_000
_SETTINGS = Settings.of(decode_processes=2).images
_PNG = encoded(gradient(64, 48))


@pytest.fixture
def pool() -> Iterator[DecodingPool]:
    with DecodingPool(_SETTINGS) as pool:
        yield pool


def _children() -> list[psutil.Process]:
    """Living children. Other tests may have left some that ended and were not waited for yet."""
    alive = (each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE)
    return [each for each in alive if "shared.images.sandbox_child" in " ".join(each.cmdline())]


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
def test_a_child_returns_the_image_decoded_and_scaled(pool: DecodingPool, file_format: str) -> None:
    data = encoded(gradient(300, 200), file_format, exif=exif_with_orientation(6))
    decoded = pool.decode(data, (90, 70))
    expected = decode(data, _MANY).image.resize((90, 70), Image.Resampling.BICUBIC)
    assert (decoded.width, decoded.height) == ((300, 200) if file_format in ("GIF", "BMP") else (200, 300))
    assert (np.asarray(decoded.image) == np.asarray(expected)).all()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnsupportedImage),
        (_PNG[:80], ImageUnreadable),
        (_PNG[:60] + b"\x00" * 20 + _PNG[80:], ImageUnreadable),
        (encoded(Image.new("1", (9000, 8000))), ImageTooLarge),
    ],
)
def test_an_image_that_cannot_be_decoded_is_refused_and_the_child_continues(
    pool: DecodingPool, data: bytes, error: type[MaskqError]
) -> None:
    pool.decode(_PNG, (64, 48))
    (child,) = _children()
    with pytest.raises(error):
        pool.decode(data, (64, 48))
    pool.decode(_PNG, (64, 48))
    assert _children() == [child]


@pytest.mark.slow
def test_an_image_that_takes_too_long_is_refused(pool: DecodingPool) -> None:
    settings = _SETTINGS.model_copy(update={"decode_cpu_s": 1, "max_image_pixels": 10**9})
    costly = flat_png(16_000, 10_000, depth=16, color_type=6, interlaced=True)
    with DecodingPool(settings) as impatient:
        with pytest.raises(ImageUnreadable, match="longer"):
            impatient.decode(costly, (224, 224))
        assert impatient.decode(_PNG, (64, 48)).width == 64


def test_an_image_that_takes_too_much_memory_is_refused() -> None:
    with DecodingPool(_SETTINGS.model_copy(update={"decode_memory_bytes": 200_000_000})) as small:
        with pytest.raises(ImageUnreadable, match="memory"):
            small.decode(costly_images()["rgba"](), (224, 224))
        assert small.decode(_PNG, (64, 48)).width == 64


@pytest.mark.slow
@pytest.mark.parametrize("name", list(costly_images()))
def test_the_most_costly_images_within_the_limits_are_decoded(pool: DecodingPool, name: str) -> None:
    assert pool.decode(costly_images()[name](), (224, 224)).image.size == (224, 224)


@pytest.mark.slow
def test_a_child_that_was_killed_or_froze_is_replaced() -> None:
    with DecodingPool(_SETTINGS.model_copy(update={"decode_cpu_s": 1})) as pool:
        for fatal_signal in (signal.SIGKILL, signal.SIGSTOP):
            pool.decode(_PNG, (64, 48))
            (child,) = _children()
            child.send_signal(fatal_signal)
            assert pool.decode(_PNG, (64, 48)).width == 64
            assert child not in _children()


def test_there_are_never_more_children_than_allowed(pool: DecodingPool) -> None:
    with ThreadPoolExecutor(8) as threads:
        decoded = list(threads.map(lambda _: pool.decode(_PNG, (64, 48)), range(40)))
    assert len(decoded) == 40
    assert len(_children()) <= 2


def test_a_child_has_no_secrets_and_cannot_write_files(pool: DecodingPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pool.decode(_PNG, (64, 48))
    (child,) = _children()
    assert "HF_TOKEN" not in child.environ()
    assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_AS) == (
        _SETTINGS.decode_memory_bytes,
        _SETTINGS.decode_memory_bytes,
    )
    assert [file.path for file in child.open_files()] == []


@pytest.mark.slow
def test_children_end_with_the_process_that_uses_them(root: Path) -> None:
    program = """
import sys, time
from shared.images.sandbox import DecodingPool
from shared.settings import Settings
from shared.settings.several_processes import IMAGE_FORMATS
from testing.pictures import encoded, gradient
DecodingPool(Settings.of().images).decode(encoded(gradient()), (4, 4))
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (child,) = psutil.Process(process.pid).children()
        process.kill()
    gone, _ = psutil.wait_procs([child], timeout=20)
    assert gone == [child]


def test_ctrl_c_does_not_reach_a_child(pool: DecodingPool) -> None:
    pool.decode(_PNG, (64, 48))
    (child,) = _children()
    assert os.getpgid(child.pid) != os.getpgid(0)


@pytest.mark.slow
def test_time_spent_on_earlier_images_does_not_count() -> None:
    with DecodingPool(_SETTINGS.model_copy(update={"decode_cpu_s": 1, "decode_processes": 1})) as pool:
        large = encoded(gradient(4000, 3000), "PNG", compress_level=1)
        begin = time.process_time()
        while sum(_children()[0].cpu_times()[:2]) < 2.5 if _children() else True:
            pool.decode(large, (224, 224))
            assert time.process_time() - begin < 60
        (child,) = _children()
        assert pool.decode(_PNG, (64, 48)).width == 64
        assert _children() == [child]
