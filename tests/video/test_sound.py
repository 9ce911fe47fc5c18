"""Sound: in sync to a frame, as long as the frames, and never in the way where there is none."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from animatelcm.video.formats import FORMATS
from animatelcm.video.frames import VideoError
from animatelcm.video.probe import SoundStream, describe
from animatelcm.video.sound import QUIET_RATE, Sound, read_sound, silence
from animatelcm.video.write import VideoSettings, write_video
from torch import Tensor

FPS, FRAMES, RATE = 8.0, 24, 44100
LOUD = [name for name, format in FORMATS.items() if format.sound]
MUTE = [name for name, format in FORMATS.items() if not format.sound]


def clicks(*frames: int, seconds: float = FRAMES / FPS, channels: int = 2) -> Sound:
    """A short tone as each of those frames begins."""
    waveform = torch.zeros(channels, round(seconds * RATE))
    tone = 0.8 * torch.sin(2 * torch.pi * 1000 * torch.arange(RATE // 50) / RATE)
    for frame in frames:
        place = round(frame / FPS * RATE)
        waveform[:, place : place + len(tone)] = tone
    return Sound(waveform, RATE)


def heard(sound: Sound) -> list[float]:
    """The beginnings of tones, in seconds."""
    loud = sound.waveform.abs().amax(0) > 0.3
    places = loud.nonzero()[:, 0]
    apart = torch.cat((torch.tensor([True]), places.diff() > sound.rate // 20))[: len(places)]
    return (places[apart] / sound.rate).tolist()


def frames(count: int = FRAMES) -> Tensor:
    return torch.full((count, 32, 32, 3), 0.5)


def saved(folder: Path, name: str, sound: Sound | None, count: int = FRAMES, ping_pong: bool = False) -> Path:
    path = folder / f"clip{FORMATS[name].suffix}"
    write_video(path, frames(count), VideoSettings(FPS, 50, ping_pong, FORMATS[name], sound))
    return path


@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize("name", LOUD)
def test_sound_comes_back_in_sync_to_a_frame(tmp_path: Path, name: str, start: float) -> None:
    path = saved(tmp_path, name, clicks(2, 10, 17))
    sound = read_sound(describe(path), start, FRAMES / FPS - start)
    expected = [frame / FPS - start for frame in (2, 10, 17) if frame / FPS >= start]
    assert heard(sound) == pytest.approx(expected, abs=0.02)  # a frame lasts 0.125
    assert sound.waveform.shape == (2, round((FRAMES / FPS - start) * sound.rate))


@pytest.mark.parametrize("suffix", ["mkv", "avi", "mpg", "ts", "flv", "wmv", "ogv"])
def test_every_container_is_in_sync(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path, "MOV (ProRes)", clicks(2, 17))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-pix_fmt", "yuv420p", "-r", "24"]
    subprocess.run([*command, str(tmp_path / f"clip.{suffix}")], check=True)
    sound = read_sound(describe(tmp_path / f"clip.{suffix}"), 1.0, 2.0)
    assert heard(sound) == pytest.approx([17 / FPS - 1.0], abs=0.06)  # half a frame


def test_sound_that_begins_later_than_the_pictures_stays_later(tmp_path: Path) -> None:
    path = saved(tmp_path, "MP4 (H.264)", clicks(2))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-itsoffset", "1", "-i", str(path)]
    subprocess.run([*command, "-map", "0:v", "-map", "1:a", "-c", "copy", str(tmp_path / "late.mkv")], check=True)
    assert heard(read_sound(describe(tmp_path / "late.mkv"), 0.0, 3.0)) == pytest.approx([1.25], abs=0.02)


@pytest.mark.parametrize("seconds", [1.0, 9.0])
def test_the_video_is_as_long_as_its_frames(tmp_path: Path, seconds: float) -> None:
    path = saved(tmp_path, "MP4 (H.264)", clicks(2, seconds=seconds))
    assert describe(path).seconds == pytest.approx(FRAMES / FPS, abs=0.05)
    assert heard(read_sound(describe(path), 0.0, 3.0)) == pytest.approx([0.25], abs=0.02)


def test_sound_plays_on_when_the_frames_go_back(tmp_path: Path) -> None:
    path = saved(tmp_path, "MP4 (H.264)", clicks(2, 20), count=13, ping_pong=True)
    assert heard(read_sound(describe(path), 0.0, 3.0)) == pytest.approx([0.25, 2.5], abs=0.02)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_mono_stays_mono_and_more_becomes_stereo(tmp_path: Path, channels: int) -> None:
    path = saved(tmp_path, "MP4 (H.264)", clicks(2, channels=channels))
    assert len(read_sound(describe(path), 0.0, 1.0).waveform) == min(channels, 2)


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
def test_every_rate_is_saved(tmp_path: Path, rate: int) -> None:
    tone = 0.5 * torch.sin(torch.arange(3 * rate) * 2 * torch.pi * 440 / rate)
    for name in LOUD:
        sound = read_sound(describe(saved(tmp_path, name, Sound(tone[None], rate))), 0.0, 2.0)
        loudest = torch.fft.rfft(sound.waveform[0]).abs().argmax().item() / 2.0  # in Hz, of 2 seconds
        assert loudest == pytest.approx(440, abs=1)


@pytest.mark.parametrize("sound", [None, silence(3.0)], ids=["none", "silence"])
def test_nothing_to_hear_is_no_sound_in_the_file(tmp_path: Path, sound: Sound | None) -> None:
    path = saved(tmp_path, "MP4 (H.264)", sound)
    assert describe(path).sound is None
    assert not read_sound(describe(path), 0.0, 2.0).heard()


@pytest.mark.parametrize("name", MUTE)
def test_a_format_without_sound_says_so(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path, name, clicks(2))
    assert "has no sound" in caplog.text
    caplog.clear()
    other = tmp_path / "other"
    other.mkdir()
    saved(other, name, silence(3.0))
    assert "has no sound" not in caplog.text


def test_sound_is_described_before_it_is_read(tmp_path: Path) -> None:
    assert describe(saved(tmp_path, "MP4 (H.264)", clicks(2))).sound == SoundStream(RATE, 2)


def test_there_is_a_limit_to_what_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("animatelcm.video.sound.LARGEST", 2 * 2 * RATE)
    path = saved(tmp_path, "MP4 (H.264)", clicks(2))
    assert read_sound(describe(path), 0.0, 1e6).waveform.shape == (2, 2 * RATE)
    assert "1000000 seconds of sound; the first 2 are read" in caplog.text


def test_silence_takes_no_memory(tmp_path: Path) -> None:
    sound = read_sound(describe(saved(tmp_path, "MP4 (H.264)", None)), 0.0, 1000.0)
    assert sound.waveform.shape == (1, 1000 * QUIET_RATE)
    assert sound.waveform.untyped_storage().nbytes() == 4


@pytest.mark.parametrize(
    ("waveform", "rate", "expected"),
    [
        (torch.zeros(1, 2, 8), RATE, r"The sound has the shape \(1, 2, 8\)"),
        (torch.zeros(9, 8), RATE, "Expected .1 to 8 channels, samples"),
        (torch.zeros(2, 8), 0, "The sound has 0 samples a second. Expected 1000 to 192000"),
        (torch.full((2, 8), torch.nan), RATE, "The sound has values that are not numbers"),
    ],
)
def test_what_is_no_sound_is_named(waveform: Tensor, rate: int, expected: str) -> None:
    with pytest.raises(VideoError, match=expected):
        Sound(waveform, rate)


def test_an_interrupt_stops_reading(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    description = describe(saved(tmp_path, "MP4 (H.264)", clicks(2)))
    with pytest.raises(KeyboardInterrupt):
        read_sound(description, 0.0, 1.0, interrupt)
