"""Helper processes that decode: what they cannot be made to do to the process that uses them."""

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
from shared.images.inspect import open_upright
from shared.images.sandbox import Decoders
from shared.settings import Settings
from testing.pictures import costly_images, encoded, exif_with_orientation, gradient, scan_bomb

_MANY = 25_000_000
_SETTINGS = Settings.of(decode_processes=2).images
_PNG = encoded(gradient(64, 48))


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    with Decoders(_SETTINGS) as decoders:
        yield decoders


def _helpers() -> list[psutil.Process]:
    """Those that live; other tests may have left some that nobody has waited for yet."""
    alive = (each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE)
    return [each for each in alive if "shared.images.sandbox_child" in " ".join(each.cmdline())]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_the_one_decoded_here_and_scaled(decoders: Decoders, file_format: str) -> None:
    data = encoded(gradient(300, 200), file_format, exif=exif_with_orientation(6))
    picture = decoders.decode(data, (90, 70))
    expected = open_upright(data, _MANY).resize((90, 70), Image.Resampling.BICUBIC)
    assert (picture.width, picture.height) == (200, 300)
    assert (np.asarray(picture.image) == np.asarray(expected)).all()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnsupportedImage),
        (_PNG[:80], ImageUnreadable),
        (_PNG[:60] + b"\x00" * 20 + _PNG[80:], ImageUnreadable),
        (encoded(Image.new("1", (6000, 5000))), ImageTooLarge),
    ],
)
def test_what_cannot_be_decoded_is_refused_and_the_helper_goes_on(
    decoders: Decoders, data: bytes, error: type[MaskqError]
) -> None:
    decoders.decode(_PNG, (64, 48))
    (helper,) = _helpers()
    with pytest.raises(error):
        decoders.decode(data, (64, 48))
    decoders.decode(_PNG, (64, 48))
    assert _helpers() == [helper]


@pytest.mark.slow
def test_an_image_that_takes_too_long_is_given_up(decoders: Decoders) -> None:
    settings = _SETTINGS.model_copy(update={"decode_cpu_s": 1})
    with Decoders(settings) as hasty:
        with pytest.raises(ImageUnreadable, match="longer"):
            hasty.decode(scan_bomb(scans=2_000), (224, 224))
        assert hasty.decode(_PNG, (64, 48)).width == 64


def test_an_image_that_takes_too_much_memory_is_given_up() -> None:
    with Decoders(_SETTINGS.model_copy(update={"decode_memory_bytes": 200_000_000})) as tight:
        with pytest.raises(ImageUnreadable, match="memory"):
            tight.decode(costly_images()["rgba"](), (224, 224))
        assert tight.decode(_PNG, (64, 48)).width == 64


@pytest.mark.slow
@pytest.mark.parametrize("name", list(costly_images()))
def test_the_costliest_images_within_the_limits_are_decoded(decoders: Decoders, name: str) -> None:
    assert decoders.decode(costly_images()[name](), (224, 224)).image.size == (224, 224)


@pytest.mark.slow
def test_a_helper_that_was_killed_or_froze_is_replaced() -> None:
    with Decoders(_SETTINGS.model_copy(update={"decode_cpu_s": 1})) as decoders:
        for blow in (signal.SIGKILL, signal.SIGSTOP):
            decoders.decode(_PNG, (64, 48))
            (helper,) = _helpers()
            helper.send_signal(blow)
            assert decoders.decode(_PNG, (64, 48)).width == 64
            assert helper not in _helpers()


def test_an_image_that_kills_every_decoder_fails_alone() -> None:
    with Decoders(_SETTINGS.model_copy(update={"decode_memory_bytes": 1})) as doomed, pytest.raises(ImageUnreadable):
        doomed.decode(_PNG, (64, 48))
    assert _helpers() == []


def test_there_are_never_more_helpers_than_allowed(decoders: Decoders) -> None:
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda _: decoders.decode(_PNG, (64, 48)), range(40)))
    assert len(pictures) == 40
    assert len(_helpers()) <= 2


def test_a_helper_knows_no_secrets_and_can_write_no_file(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    decoders.decode(_PNG, (64, 48))
    (helper,) = _helpers()
    assert "HF_TOKEN" not in helper.environ()
    assert helper.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert helper.rlimit(psutil.RLIMIT_AS) == (
        _SETTINGS.decode_memory_bytes,
        _SETTINGS.decode_memory_bytes,
    )
    assert [file.path for file in helper.open_files()] == []


@pytest.mark.slow
def test_helpers_end_with_the_process_that_uses_them(root: Path) -> None:
    program = """
import sys, time
from shared.images.sandbox import Decoders
from shared.settings import Settings
from testing.pictures import encoded, gradient
Decoders(Settings.of().images).decode(encoded(gradient()), (4, 4))
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (helper,) = psutil.Process(process.pid).children()
        process.kill()
    gone, _ = psutil.wait_procs([helper], timeout=20)
    assert gone == [helper]


def test_ctrl_c_does_not_reach_a_helper(decoders: Decoders) -> None:
    decoders.decode(_PNG, (64, 48))
    (helper,) = _helpers()
    assert os.getpgid(helper.pid) != os.getpgid(0)


@pytest.mark.slow
def test_time_spent_on_earlier_images_does_not_count() -> None:
    with Decoders(_SETTINGS.model_copy(update={"decode_cpu_s": 1, "decode_processes": 1})) as decoders:
        large = encoded(gradient(4000, 3000), "PNG", compress_level=1)
        begin = time.process_time()
        while sum(_helpers()[0].cpu_times()[:2]) < 2.5 if _helpers() else True:
            decoders.decode(large, (224, 224))
            assert time.process_time() - begin < 60
        (helper,) = _helpers()
        assert decoders.decode(_PNG, (64, 48)).width == 64
        assert _helpers() == [helper]
