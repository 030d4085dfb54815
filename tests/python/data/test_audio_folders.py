"""Folders of sounds: WAV in all its kinds without any library, the rest with soundfile."""

import struct
import sys
import wave

import numpy as np
import pytest

import gridnn as gn
from gridnn.errors import FileFormatError, ShapeError

pytestmark = pytest.mark.one_tier

SOUND = np.array([0.0, 0.5, -0.5, 0.25, -1.0, 0.75])


def integers(sound, bits):
    """The bytes of samples with this many bits."""
    values = np.round(sound * 2 ** (bits - 1)).astype(np.int64)
    if bits == 8:
        return (values + 128).astype(np.uint8).tobytes()
    return b"".join(int(value).to_bytes(bits // 8, "little", signed=True) for value in values.reshape(-1))


def write_wav(path, sound, bits=16, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if sound.ndim == 1 else sound.shape[1])
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(integers(sound, bits))


def riff(fmt, data, *, before=b"", size=None):
    """A file made by hand."""
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(fmt)) + fmt
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_integers_of_every_size_are_scaled(tmp_path, bits):
    write_wav(tmp_path / "a" / "1.wav", SOUND, bits)
    x, y = gn.data.audio_folder(tmp_path, rate=8000, length=6)
    assert (x.shape, x.dtype, y.tolist()) == ((1, 6, 1), np.float32, [0])
    assert np.array_equal(x[0, :, 0], SOUND)


def test_the_smallest_steps_of_24_bits_are_kept(tmp_path):
    steps = np.array([1, -1, 2, 8388607, -8388608]) / 2**23
    write_wav(tmp_path / "a" / "1.wav", steps, 24)
    assert np.array_equal(gn.data.audio_folder(tmp_path, 8000, 5).x[0, :, 0], steps)


def test_stereo_is_averaged_or_kept(tmp_path):
    stereo = np.stack([SOUND, np.zeros(6)], axis=1)
    write_wav(tmp_path / "a" / "1.wav", stereo)
    assert np.array_equal(gn.data.audio_folder(tmp_path, 8000, 6).x[0, :, 0], SOUND / 2)
    assert np.array_equal(gn.data.audio_folder(tmp_path, 8000, 6, channels="unchanged").x[0], stereo)
    write_wav(tmp_path / "a" / "2.wav", SOUND)
    assert gn.data.audio_folder(tmp_path, 8000, 6).x.shape == (2, 6, 1)
    with pytest.raises(ShapeError, match=r"2\.wav has shape \(6, 1\), but .*1\.wav has \(6, 2\)"):
        gn.data.audio_folder(tmp_path, 8000, 6, channels="unchanged")


def test_long_sounds_are_cut_and_short_ones_end_in_silence(tmp_path):
    write_wav(tmp_path / "a" / "1.wav", SOUND)
    assert np.array_equal(gn.data.audio_folder(tmp_path, 8000, 4).x[0, :, 0], SOUND[:4])
    assert np.array_equal(gn.data.audio_folder(tmp_path, 8000, 8).x[0, :, 0], [*SOUND, 0, 0])


def test_without_a_rate_all_have_that_of_the_first(tmp_path):
    write_wav(tmp_path / "a" / "1.wav", SOUND, rate=8000)
    write_wav(tmp_path / "b" / "1.wav", SOUND, rate=8000)
    assert len(gn.data.audio_folder(tmp_path, None, 6).x) == 2
    write_wav(tmp_path / "b" / "1.wav", SOUND, rate=16000)
    with pytest.raises(ValueError, match=r"b.1\.wav: 16000 samples per second, but .*a.1\.wav has 8000"):
        gn.data.audio_folder(tmp_path, None, 6)
    with pytest.raises(ValueError, match="16000 samples per second"):
        gn.data.audio_folder(tmp_path, None, 6, batch_size=2)[0]


def test_another_rate_is_an_error(tmp_path):
    write_wav(tmp_path / "a" / "1.wav", SOUND, rate=44100)
    with pytest.raises(ValueError, match=r"1\.wav: 44100 samples per second, expected rate=8000"):
        gn.data.audio_folder(tmp_path, 8000, 6)
    assert len(gn.data.audio_folder(tmp_path, None, 6).x) == 1


GUID = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


@pytest.mark.parametrize(
    ("fmt", "data"),
    [
        (struct.pack("<HHIIHH", 3, 1, 8000, 32000, 4, 32), SOUND.astype("<f4").tobytes()),
        (struct.pack("<HHIIHH", 3, 1, 8000, 64000, 8, 64), SOUND.astype("<f8").tobytes()),
        (
            struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8000, 24000, 3, 24, 22, 24, 4, 1) + GUID,
            integers(SOUND, 24),
        ),
    ],
    ids=["float32", "float64", "extensible"],
)
def test_kinds_that_the_module_wave_refuses_are_read(tmp_path, fmt, data):
    (tmp_path / "a").mkdir()
    # A chunk of odd length, after which a byte is left out.
    (tmp_path / "a" / "1.wav").write_bytes(riff(fmt, data, before=b"LIST\x03\0\0\0abc\0"))
    assert np.array_equal(gn.data.audio_folder(tmp_path, 8000, 6).x[0, :, 0], SOUND)


def test_a_stream_that_did_not_know_its_length_is_read(tmp_path):
    (tmp_path / "a").mkdir()
    fmt = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    (tmp_path / "a" / "1.wav").write_bytes(riff(fmt, integers(SOUND, 16), size=0xFFFFFFFF))
    assert np.array_equal(gn.data.audio_folder(tmp_path, 8000, 6).x[0, :, 0], SOUND)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "not a WAV file"),
        (b"ID3 something of MP3", "not a WAV file"),
        (
            riff(struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16), b"\0\0", size=400),
            "truncated; expected 400",
        ),
        (riff(struct.pack("<HHIIHH", 17, 1, 8000, 4000, 1, 4), b"\0\0"), "numbers of kind 17 with 4 bits"),
        (riff(struct.pack("<HHIIHH", 1, 0, 8000, 16000, 2, 16), b"\0\0"), "damaged header: 0 channels"),
        (riff(b"\1\0", b""), "its header has 2 bytes"),
        (b"RIFF\4\0\0\0WAVE", "a WAV file without samples"),
        (b"RIFF\4\0\0\0WAVEdata\2\0\0\0\0\0", "its samples come before"),
    ],
)
def test_broken_files_are_named(tmp_path, contents, message):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.wav").write_bytes(contents)
    with pytest.raises(FileFormatError, match=rf"1\.wav: {message}"):
        gn.data.audio_folder(tmp_path, 8000, 6)


def test_other_formats_are_read_with_soundfile(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    soundfile.write(tmp_path / "a" / "1.flac", SOUND, 8000, subtype="PCM_24")
    write_wav(tmp_path / "b" / "1.wav", SOUND)
    x, y = gn.data.audio_folder(tmp_path, 8000, 6)
    assert np.allclose(x[0], x[1], atol=2**-22)
    assert y.tolist() == [0, 1]
    (tmp_path / "a" / "1.flac").write_bytes(b"none")
    with pytest.raises(FileFormatError, match=r"1\.flac: cannot be read as sound"):
        gn.data.audio_folder(tmp_path, 8000, 6)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_telephone_recordings_are_read_with_soundfile(tmp_path, subtype):
    soundfile = pytest.importorskip("soundfile")
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a" / "1.wav", SOUND, 8000, subtype=subtype)
    expected, _ = soundfile.read(tmp_path / "a" / "1.wav", dtype="float32")
    assert np.array_equal(gn.data.audio_folder(tmp_path, 8000, 6).x[0, :, 0], expected)


def test_telephone_recordings_say_what_they_need(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.wav").write_bytes(riff(struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 8), b"\0\0"))
    with pytest.raises(ImportError, match=r'1\.wav is read with soundfile: pip install "gridnn\[audio\]"'):
        gn.data.audio_folder(tmp_path, 8000, 6)


def test_soundfile_agrees_on_wav(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    noise = np.random.default_rng(0).uniform(-1, 1, (100, 2))
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        for kind in ("WAV", "WAVEX"):
            file = tmp_path / "a" / f"{subtype}.wav"
            file.parent.mkdir(exist_ok=True)
            soundfile.write(file, noise, 8000, subtype=subtype, format=kind)
            theirs, _ = soundfile.read(file, dtype="float32")
            ours = gn.data.audio_folder(tmp_path, 8000, 100, channels="unchanged").x[-1]
            assert np.array_equal(ours, theirs)
            file.unlink()


def test_a_missing_soundfile_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.flac").write_bytes(b"")
    with pytest.raises(ImportError, match=r'1\.flac is read with soundfile: pip install "gridnn\[audio\]"'):
        gn.data.audio_folder(tmp_path, 8000, 6)


def test_batches_and_splits_are_those_of_images(tmp_path):
    for name in ("no", "yes"):
        for number in range(5):
            write_wav(tmp_path / name / f"{number}.wav", np.roll(SOUND, number))
    x, y = gn.data.audio_folder(tmp_path, 8000, 6, split=("train", 0.2, 0))
    batches = gn.data.audio_folder(tmp_path, 8000, 6, split=("train", 0.2, 0), batch_size=3)
    assert np.bincount(y).tolist() == [4, 4]
    assert batches.class_names == ["no", "yes"]
    assert np.array_equal(np.concatenate([sounds for sounds, _ in batches]), x)
    with pytest.raises(ValueError, match="`channels` argument must be one of 'mono', 'unchanged'"):
        gn.data.audio_folder(tmp_path, 8000, 6, channels="left")


@pytest.mark.parametrize("length", [2**45, 2**62])
def test_a_length_that_does_not_fit_into_memory_is_named(tmp_path, length):
    write_wav(tmp_path / "a" / "1.wav", SOUND)
    for options in ({}, {"batch_size": 1}):
        with pytest.raises(MemoryError, match=f"`length`={length} takes"):
            gn.data.audio_folder(tmp_path, 8000, length, **options)


FORMATS = {
    np.dtype("<f4"): struct.pack("<HHIIHH", 3, 1, 8000, 32000, 4, 32),
    np.dtype("<f8"): struct.pack("<HHIIHH", 3, 1, 8000, 64000, 8, 64),
    np.dtype("<i2"): struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16),
}


def write_raw(folder, values, dtype, **options):
    dtype = np.dtype(dtype)
    (folder / "a").mkdir(exist_ok=True)
    data = np.asarray(values).astype(dtype).tobytes()
    file = folder / "a" / "1.wav"
    file.write_bytes(riff(FORMATS[dtype], data, **options))
    return file


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (np.nan, "<f4", "values that are not finite"),
        (-np.inf, "<f8", "values that are not finite"),
        (1e300, "<f8", "values that are not finite"),
        (1e30, "<f4", r"values up to 1e\+30"),
        (-32768, "<f8", "values up to 32768"),
    ],
)
def test_floats_that_are_no_sound_are_named(tmp_path, value, dtype, message):
    write_raw(tmp_path, [0, value], dtype)
    for channels in ("mono", "unchanged"):
        with pytest.raises(FileFormatError, match=rf"1\.wav: {message}; sounds of floats are from -1 to 1"):
            gn.data.audio_folder(tmp_path, 8000, 6, channels=channels)


def test_floats_that_pass_1_are_kept(tmp_path):
    write_raw(tmp_path, [0.5, -1.5], "<f4")
    assert gn.data.audio_folder(tmp_path, 8000, 2).x.ravel().tolist() == [0.5, -1.5]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000])
@pytest.mark.parametrize("values", [[256, -256, 8192, 0, 77], [0] * 20, [0x4141] * 9])
def test_lengths_that_were_not_known_mean_the_rest_of_the_file(tmp_path, size, values):
    write_raw(tmp_path, values, "<i2", size=size)
    x = gn.data.audio_folder(tmp_path, 8000, len(values)).x
    assert x.ravel().tolist() == [value / 2**15 for value in values]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_files_without_samples_are_named(tmp_path, size):
    file = write_raw(tmp_path, [], "<i2", size=size)
    with pytest.raises(FileFormatError, match=r"1\.wav: a file of sound without samples"):
        gn.data.audio_folder(tmp_path, 8000, 6)
    if size == 0:  # what comes after it is no sound
        file.write_bytes(file.read_bytes() + b"LIST\x03\0\0\0abc\0")
        with pytest.raises(FileFormatError, match="without samples"):
            gn.data.audio_folder(tmp_path, 8000, 6)
