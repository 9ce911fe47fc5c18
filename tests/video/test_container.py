"""What may be opened: files that hold their own pictures. All others are named, and nothing that they name is read."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from animatelcm.video.container import CONTAINERS, Container, container_of
from animatelcm.video.frames import VideoError
from animatelcm.video.probe import describe
from animatelcm.video.read import Excerpt, read_video
from animatelcm.video.write import VideoSettings, write_video

EXCERPT = Excerpt(0.0, 4, 1, 32, 32)
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" profiles="a">
<Period><AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1" width="32" height="32">
<BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>"""
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n{more}#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n"
REFERENCES = {
    "playlist": PLAYLIST.format(more="", secret="{secret}"),
    "playlist relative": PLAYLIST.format(more="", secret="secret.mp4"),
    "playlist file:": PLAYLIST.format(more="", secret="file:{secret}"),
    "playlist map": PLAYLIST.format(more='#EXT-X-MAP:URI="{secret}"\n', secret="{secret}"),
    "playlist behind a mark": "\ufeff" + PLAYLIST.format(more="", secret="{secret}"),
    "playlist of playlists": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{secret}\n",
    "playlist of an address": PLAYLIST.format(more="", secret="http://localhost:1/secret.mp4"),
    "manifest": DASH,
    "script": "ffconcat version 1.0\nfile {secret}\n",
    "address": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
}
NAMED = {
    "playlist": "an HLS playlist, a text that names other files. Choose the video itself",
    "manifest": "a DASH manifest, a text that names other files",
    "script": "a script for ffmpeg, a text that names other files",
    "address": "a text. Choose",
}

BEGINNINGS = [
    b"\x00\x00\x00\x08ftyp",
    b"\x1aE\xdf\xa3",
    b"RIFF\x00\x00\x00\x00AVI ",
    b"GIF89a",
    b"RIFF\x00\x00\x00\x00WEBPVP8X\x00\x00\x00\x00ANIM",
    b"\x89PNG\r\n\x1a\nacTL",
    b"\x00\x00\x01\xba",
    b"G" + b"x" * 187 + b"G" + b"x" * 187 + b"G",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    b"FLV\x01",
    b"OggS",
]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A video that nobody asked for."""
    write_video(tmp_path / "secret.mp4", torch.full((8, 32, 32, 3), 0.7), VideoSettings())
    return tmp_path / "secret.mp4"


def ffmpeg_finds(path: Path) -> bool:
    """Whether ffmpeg, left to itself, would have read pictures."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-"]
    return bool(subprocess.run(command, capture_output=True).stdout)


@pytest.mark.parametrize("suffix", [".m3u8", ".mpd", ".mp4", ".webm", ".txt", ""])
@pytest.mark.parametrize("kind", REFERENCES)
def test_a_file_that_names_others_is_named_and_not_followed(
    tmp_path: Path, secret: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / f"film{suffix}"
    path.write_text(REFERENCES[kind].replace("{secret}", str(secret)), encoding="utf-8")
    with pytest.raises(VideoError, match=f"film{suffix} is no video but {NAMED[kind.split()[0]]}"):
        read_video(path, EXCERPT)


def test_these_files_are_dangerous(tmp_path: Path, secret: Path) -> None:
    """The test above is about something: ffmpeg does read the secret through a playlist."""
    (tmp_path / "film.m3u8").write_text(REFERENCES["playlist relative"])
    assert ffmpeg_finds(tmp_path / "film.m3u8")


@pytest.mark.parametrize(("beginning", "kind"), zip(BEGINNINGS, CONTAINERS.values(), strict=True))
def test_a_playlist_that_begins_as_a_video_is_not_followed(
    tmp_path: Path, secret: Path, beginning: bytes, kind: Container
) -> None:
    """Whoever finds a way around the first bytes meets an ffmpeg that knows one demuxer and no network."""
    text = REFERENCES["playlist"].replace("{secret}", str(secret)).encode()
    (tmp_path / "film.mp4").write_bytes(beginning + b"\n" + text)
    assert container_of(tmp_path / "film.mp4") == kind
    with pytest.raises(VideoError, match="damaged or cut off|claims pictures"):
        read_video(tmp_path / "film.mp4", EXCERPT)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "film.mp4 is no video but empty. Copy or upload it again"),
        (b"\xff" * 4000, "no known one begins with the bytes ff ff ff ff ff ff ff ff. Choose an MP4"),
        (b"RIFF", "film.mp4 is no video but a text"),
        (b"\x7fELF\x02\x01", "no known one begins with the bytes 7f 45 4c 46 02 01"),
        (b"<!DOCTYPE html><html>", "a web page, as downloads that went wrong are. Download"),
        (b"\n\n<html>", "a web page"),
        (b"\x1b[31mred\x1b[0m\n" * 30, "film.mp4 is no video but a text"),
        ("\u96ea\n".encode() * 30, "film.mp4 is no video but a text"),
        (b"\x89PNG\r\n\x1a\n....IHDR", "a picture. Load it with 'Load Image'"),
        (b"\xff\xd8\xff\xe0", "a picture"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "a picture"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "sound without pictures. Choose a video"),
        (b"ID3\x04", "sound without pictures"),
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=expected):
        read_video(tmp_path / "film.mp4", EXCERPT)


def test_a_codec_that_no_video_has_is_named(tmp_path: Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "color=s=48x48:d=0.2"]
    subprocess.run([*command, "-c:v", "exr", str(tmp_path / "film.mkv")], check=True)
    expected = "film.mkv is a WebM or MKV file with pictures coded as exr, which are not read here. Convert it to MP4"
    with pytest.raises(VideoError, match=expected):
        read_video(tmp_path / "film.mkv", EXCERPT)


@pytest.mark.parametrize("name", ["clip%03d.mp4", "concat:a.mp4", "-i.mp4", "a|b.mp4", "http:x.mp4", "two\nlines.mp4"])
def test_a_name_is_only_a_name(tmp_path: Path, secret: Path, name: str) -> None:
    secret.rename(tmp_path / name)
    assert len(read_video(tmp_path / name, EXCERPT)[0]) == 4


def test_only_a_file_and_its_demuxer_may_be_opened(secret: Path) -> None:
    source = describe(secret).source
    for option, value in (("-protocol_whitelist", "file"), ("-format_whitelist", "mov"), ("-f", "mov")):
        assert source[source.index(option) + 1] == value
