"""Child processes that decode images: no image may harm the process that uses them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image, ImageCms

from shared.domain.tiles import AUTO, picture_views
from shared.errors import ImageTooLarge, ImageUnreadable, MaskqError, UnsupportedImage
from shared.images import sandbox
from shared.images.decode import decode
from shared.images.sandbox import DecodingPool
from shared.settings import Settings
from shared.settings.several_processes import IMAGE_FORMATS
from testing.pictures import costly_images, encoded, exif_with_orientation, flat_png, gradient
from testing.running import running_children

_MANY = 65_000_000
_SETTINGS = Settings.of(decode_processes=2).images
_PNG = encoded(gradient(64, 48))


@pytest.fixture
def pool() -> Iterator[DecodingPool]:
    with DecodingPool(_SETTINGS) as pool:
        yield pool


def _children() -> list[psutil.Process]:
    return running_children("shared.images.sandbox_child")


@pytest.mark.parametrize("file_format", IMAGE_FORMATS)
def test_a_child_returns_the_image_decoded_and_scaled(pool: DecodingPool, file_format: str) -> None:
    data = encoded(gradient(300, 200), file_format, exif=exif_with_orientation(6))
    decoded = pool.decode(data, (90, 70))
    expected = decode(data, _MANY).image.resize((90, 70), Image.Resampling.BICUBIC)
    assert (decoded.width, decoded.height) == ((300, 200) if file_format in ("GIF", "BMP") else (200, 300))
    assert (np.asarray(decoded.image) == np.asarray(expected)).all()


@pytest.mark.parametrize("pipe_bytes", [-1, 1 << 20])
def test_a_picture_larger_than_a_pipe_arrives_whole(pipe_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PIPE_BYTES", pipe_bytes)  # the system refuses a negative size
    with DecodingPool(_SETTINGS) as pool:
        decoded = pool.decode(_PNG, (300, 300))
    expected = decode(_PNG, _MANY).image.resize((300, 300), Image.Resampling.BICUBIC)
    assert decoded.image.tobytes() == expected.tobytes()


def test_a_heic_made_of_squares_as_phones_write_it_is_read_whole(pool: DecodingPool) -> None:
    data = encoded(gradient(600, 400), "HEIC", tile_size=128, exif=exif_with_orientation(6))
    assert b"grid" in data
    decoded = pool.decode(data, (40, 60))
    expected = gradient(600, 400).transpose(Image.Transpose.ROTATE_270).resize((40, 60), Image.Resampling.BICUBIC)
    assert (decoded.width, decoded.height) == (400, 600)
    assert np.abs(np.asarray(decoded.image).astype(int) - np.asarray(expected)).max() <= 8


def test_tiles_are_parts_of_the_upright_image_scaled_to_the_same_size(pool: DecodingPool) -> None:
    data = encoded(gradient(400, 100), exif=exif_with_orientation(6))
    decoded = pool.decode(data, (9, 7), AUTO)
    upright = decode(data, _MANY).image
    expected = [upright.resize((9, 7), Image.Resampling.BICUBIC, box=view) for view in picture_views("1x3", 100, 400)]
    assert [each.tobytes() for each in (decoded.image, *decoded.tiles)] == [each.tobytes() for each in expected]
    assert (decoded.width, decoded.height) == (100, 400)
    assert pool.decode(_PNG, (9, 7), AUTO).tiles == ()


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_photo_looks_the_same_whether_it_is_decoded_exactly_or_not(orientation: int) -> None:
    data = encoded(gradient(2400, 1600), "JPEG", exif=exif_with_orientation(orientation))
    found = []
    for is_exact in (True, False):
        with DecodingPool(Settings.of(decode_processes=1, decode_exact=is_exact).images) as pool:
            found.append(pool.decode(data, (90, 70), "2x1"))
    exact, reduced = found
    assert (exact.width, exact.height) == (reduced.width, reduced.height)
    pairs = list(zip((exact.image, *exact.tiles), (reduced.image, *reduced.tiles), strict=True))
    differences = [np.abs(np.asarray(one).astype(int) - np.asarray(other)) for one, other in pairs]
    assert max(each.max() for each in differences) <= 4
    assert any(each.max() > 0 for each in differences)


@pytest.mark.slow
def test_tiles_of_a_reduced_image_look_like_those_of_the_whole(pool: DecodingPool) -> None:
    data = encoded(gradient(12_000, 2_200), "JPEG")
    decoded, exact = pool.decode(data, (64, 64), AUTO), decode(data, _MANY).image
    views = picture_views(AUTO, 12_000, 2_200)
    assert len(views) > 3
    for shown, view in zip([decoded.image, *decoded.tiles], views, strict=True):
        expected = exact.resize((64, 64), Image.Resampling.BICUBIC, box=view)
        assert np.abs(np.asarray(shown).astype(int) - np.asarray(expected)).max() <= 4


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
def test_an_image_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_WALL_TIME_FACTOR", 60)  # other programs may use the processors
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


@pytest.mark.parametrize("dead", [1, 2, 4])
def test_children_that_were_killed_while_idle_fail_no_image(dead: int) -> None:
    with DecodingPool(_SETTINGS.model_copy(update={"decode_processes": 4})) as pool, ThreadPoolExecutor(4) as threads:
        idle = _fill(pool, threads, 4)
        for child in idle[:dead]:
            child.kill()
            child.wait()
        assert [each.width for each in threads.map(lambda _: pool.decode(_PNG, (64, 48)), range(8))] == [64] * 8
        assert not set(idle[:dead]) & set(_children())


def test_an_image_is_decoded_again_in_a_new_child_if_its_child_is_killed(
    pool: DecodingPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if every idle child is killed at the moment in which it gets the image."""
    with ThreadPoolExecutor(2) as threads:
        idle = _fill(pool, threads, 2)
    _kill_at_request(monkeypatch, times=1)
    assert pool.decode(_PNG, (64, 48)).width == 64
    assert len(set(idle) & set(_children())) == 1


def test_an_image_whose_new_child_is_lost_as_well_is_refused(
    pool: DecodingPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_at_request(monkeypatch, times=2)
    with pytest.raises(ImageUnreadable, match="crashed"):
        pool.decode(_PNG, (64, 48))
    assert _children() == []
    assert pool.decode(_PNG, (64, 48)).width == 64


def test_a_child_that_cannot_start_is_the_fault_of_no_image(
    pool: DecodingPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(OSError, match="could not start"):
        pool.decode(_PNG, (64, 48))


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b'{"wid',
        b"[1]\n",
        b'{"width": 1e9, "height": 1000000000}\n' + bytes(64 * 48 * 3),
        b'{"width": -1, "height": 5}\n',
        b'{"width": 5, "height": 5}\n',
        b"x" * 100_000,
    ],
)
def test_no_reply_of_a_child_that_was_taken_over_harms_its_parent(
    pool: DecodingPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reply: bytes
) -> None:
    program = f"import sys; sys.stdout.buffer.write(b'{{\"isolation\": []}}\\n' + {reply!r}); sys.stdout.flush()"
    script = tmp_path / "taken-over"
    script.write_text(f"#!{sys.executable}\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(ImageUnreadable, match="crashed"):
        pool.decode(_PNG, (64, 48))
    assert _children() == []


def _fill(pool: DecodingPool, threads: ThreadPoolExecutor, count: int) -> list[psutil.Process]:
    """Have this many idle children. Each of the images keeps a child busy for a while."""
    image = encoded(gradient(2000, 1500), compress_level=1)
    while len(_children()) < count:
        list(threads.map(lambda _: pool.decode(image, (64, 48)), range(count)))
    return _children()


def _kill_at_request(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Kill the next children that get a request, just before they get it."""
    request, left = sandbox._Child.request, iter(range(times))

    def killed(child: sandbox._Child, *arguments: Any) -> Any:
        if next(left, None) is not None:
            child._process.kill()
            child._process.wait()
        return request(child, *arguments)

    monkeypatch.setattr(sandbox._Child, "request", killed)


def test_there_are_never_more_children_than_allowed(pool: DecodingPool) -> None:
    with ThreadPoolExecutor(8) as threads:
        decoded = list(threads.map(lambda _: pool.decode(_PNG, (64, 48)), range(40)))
    assert len(decoded) == 40
    assert len(_children()) <= 2


def test_a_child_has_no_secrets_and_is_isolated(pool: DecodingPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What that keeps it from is tried in test_isolation.py."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pool.decode(_PNG, (64, 48))
    (child,) = _children()
    assert set(child.environ()) <= {"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "LC_CTYPE"}
    for what in (psutil.RLIMIT_FSIZE, psutil.RLIMIT_CORE, psutil.RLIMIT_NOFILE):
        assert child.rlimit(what) == (0, 0)
    status = Path(f"/proc/{child.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert {each.name for each in Path(f"/proc/{child.pid}/fd").iterdir()} == {"0", "1", "2"}
    assert child.rlimit(psutil.RLIMIT_AS) == (
        _SETTINGS.decode_memory_bytes,
        _SETTINGS.decode_memory_bytes,
    )
    assert [file.path for file in child.open_files()] == []


@pytest.mark.slow
def test_an_isolated_child_decodes_what_is_decoded_outside(pool: DecodingPool) -> None:
    """It can import nothing more, so an image that needs a module late would fail. Half of the files are damaged."""
    chance = random.Random(13)
    for _ in range(40):
        for data in _samples():
            if chance.random() < 0.5:
                at = chance.randrange(len(data))
                data = data[:at] + chance.randbytes(chance.randrange(1, 9)) + data[at + 1 :]
            assert _outcome(pool, data) == _outcome(None, data)
    assert len(_children()) == 1


def _samples() -> list[bytes]:
    """Images that take different ways through Pillow."""
    exif = exif_with_orientation(6)
    exif[0x010E] = "description"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0comment"
    modes = {
        "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
        "JPEG": ["L", "RGB", "CMYK"],
        "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I;16", "I", "F"],
        "GIF": ["1", "L", "P", "RGBA"],
        "BMP": ["1", "L", "P", "RGB", "RGBA"],
        **{name: ["RGB", "RGBA"] for name in ("WEBP", "AVIF", "HEIC")},
    }
    images = [
        encoded(Image.new(mode, (30, 20), 1), file_format, exif=exif)
        for file_format in modes
        for mode in modes[file_format]
    ]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return [
        *images,
        *(encoded(gradient(30, 20), each, icc_profile=profile) for each in modes),
        *(
            encoded(gradient(30, 20), each, save_all=True, append_images=[gradient(30, 20)])
            for each in ("PNG", "WEBP", "MPO", "GIF", "TIFF", "AVIF", "HEIC")
        ),
        encoded(gradient(30, 20, "P"), "PNG", transparency=3),
        encoded(gradient(30, 20), "JPEG", progressive=True, comment=b"words", dpi=(72, 72)),
        *(encoded(gradient(30, 20), "TIFF", compression=each) for each in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")),
        encoded(gradient(30, 20), "JPEG2000"),
    ]


def _outcome(pool: DecodingPool | None, data: bytes) -> object:
    """What comes of decoding an image in a child, or without a pool here."""
    try:
        if pool is not None:
            return pool.decode(data, (9, 7)).image.tobytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode(data, _MANY).image.resize((9, 7), Image.Resampling.BICUBIC).tobytes()
    except MaskqError as error:
        return error.type, error.detail


@pytest.mark.slow
def test_children_end_with_the_process_that_uses_them(root: Path) -> None:
    program = """
import sys, time
from shared.images.sandbox import DecodingPool
from shared.settings import Settings
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
