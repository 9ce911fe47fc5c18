"""What a video file says of itself, asked before any of its pictures is made."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .container import Container, container_of
from .ffmpeg import REMEDY, executable, ffmpeg, without_origin
from .frames import VideoError
from .part import Part, address, protocols

MAX_PIXELS = 8192 * 4320  # of one picture: the largest that cameras make
# Those of films, of cameras and editors, and of pictures that move
CODECS = (
    *("h264", "hevc", "vvc", "av1", "vp8", "vp9", "theora", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "dirac"),
    *("prores", "dnxhd", "cfhd", "dvvideo", "mjpeg", "jpeg2000", "rawvideo", "v210", "r210", "qtrle", "hap"),
    *("ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "lagarith", "tscc", "tscc2", "flashsv", "flashsv2", "zmbv"),
    *("msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "wmv3", "msvideo1", "msrle", "cinepak", "cscd"),
    *("h263", "flv1", "vp6", "vp6f", "vp6a", "svq1", "svq3", "rpza", "smc", "indeo3", "indeo4", "indeo5"),
    *("gif", "webp", "webp_anim", "png", "apng"),
)
MATRICES = {"bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "ycgco", "bt2020nc", "bt2020c", "gbr", "ictcp"}
HD_WIDTH, HD_HEIGHT = 1280, 576  # from that width on, or above that height, players take a film for BT.709


@dataclass(frozen=True)
class Pictures:
    """The pictures of a video as they are stored.

    Attributes:
        codec: ffmpeg's name of it.
        width: in pixels, of one of them.
        height: in pixels.
        fps: how many make a second; 0 where the file does not say.
        assumed_matrix: how to turn its YUV into RGB, where the file does not say and it is not the usual BT.601.
    """

    codec: str
    width: int
    height: int
    fps: float
    assumed_matrix: str | None


@dataclass(frozen=True)
class SoundStream:
    """The sound of a video as it is stored.

    Attributes:
        rate: samples per second.
        channels: 1, or more where there are more than one.
    """

    rate: int
    channels: int


@dataclass(frozen=True)
class Description:
    """What a file says of itself.

    Attributes:
        source: ffmpeg's options that open the file as what it is, and open nothing else.
        late: as `Container.late`.
        pictures: of its first stream of pictures that is no cover.
        seconds: how long it is; 0 where the file does not say.
        sound: of its first stream of sound, if it has one.
    """

    source: tuple[str, ...]
    late: float
    pictures: Pictures
    seconds: float
    sound: SoundStream | None


def describe(path: Path | Part, still_wanted: Callable[[], None] = lambda: None) -> Description:
    """Return what a video says of itself.

    Args:
        path: a file that exists, or a part of one.
        still_wanted: called while ffmpeg looks at it; it may raise to stop.

    Raises:
        VideoError: if it is no video, if its pictures are too large, or if there is no ffmpeg.
    """
    container = container_of(path)
    options = source(path, container)
    with ffmpeg(["-nostdin", *options], still_wanted) as running:
        running.read(1)  # of which there is none: this waits for the end of its output
        running.finish()
        lines = running.log()
    if not any(line.startswith("ffmpeg version") for line in lines):
        raise VideoError(f"{executable()} is not ffmpeg, or does not start. {REMEDY}")
    return Description(options, container.late, _pictures(path, container, lines), _seconds(lines), _sound(lines))


def measured_seconds(description: Description, still_wanted: Callable[[], None] = lambda: None) -> float:
    """Return how many seconds a video's pictures last, to a few of them, by their times; none is decoded.

    For files that do not say, as those that were recorded or streamed without an end.
    """
    packets = ["-map", "0:V:0", "-c", "copy", "-f", "null", "-progress", "-", "-"]
    with ffmpeg(["-v", "error", "-nostdin", *description.source, *packets], still_wanted) as counting:
        said = counting.read(1 << 20).decode(errors="replace")
    times = re.findall(r"^out_time_us=(\d+)$", said, re.MULTILINE)
    return int(times[-1]) / 1e6 if times else 0.0


def source(path: Path | Part, container: Container) -> tuple[str, ...]:
    """Return ffmpeg's options to open a file as that kind of container, without opening any other file for it."""
    only = ("-protocol_whitelist", protocols(path), "-format_whitelist", container.demuxer)
    limits = ("-max_pixels", f"{MAX_PIXELS}", "-threads", "4")  # each thread of a decoder holds pictures
    return (*only, *limits, "-f", container.demuxer, "-i", address(path))


def _pictures(path: Path | Part, container: Container, lines: list[str]) -> Pictures:
    streams = [line for line in lines if re.match(r"  Stream #0:\d+.*?: Video: ", line)]
    described = next((line for line in streams if "(attached pic)" not in line), "")
    _check_claims(path, lines)
    size = re.search(r", (\d+)x(\d+)\b", described)
    if size is None:
        raise VideoError(f"{path.name} {_fault(container, lines)}")
    codec = re.split("[, ]", described.partition("Video: ")[2])[0]
    if codec not in CODECS:
        raise VideoError(
            f"{path.name} is {container.name} with pictures coded as {codec}, which are not read here. Convert it to "
            "MP4 (H.264)."
        )
    width, height = int(size[1]), int(size[2])
    return Pictures(codec, width, height, _rate(described), _assumed_matrix(described, width, height))


def _check_claims(path: Path | Part, lines: list[str]) -> None:
    """Refuse pictures that are too large, those that ffmpeg did not make for that reason among them."""
    for width, height in re.findall(r"(?:Picture size |: Video: .*?, )(\d+)x(\d+)\b", "\n".join(lines)):
        if int(width) * int(height) > MAX_PIXELS:
            raise VideoError(
                f"{path.name} claims pictures of {width}x{height}. The limit is 8192x4320, or as many pixels in "
                "another shape: scale it down with a video editor."
            )


def _fault(container: Container, lines: list[str]) -> str:
    """What is wrong with a file that has no pictures."""
    log = "\n".join(lines)
    if "Unknown input format" in log:
        return (
            f"is {container.name}, which this ffmpeg is too old to read. Get a newer one with 'pip install --upgrade "
            "imageio-ffmpeg', or convert the file to MP4."
        )
    if re.search(r"^  Stream #0:\d+.*?: Audio: ", log, re.MULTILINE):
        return "has sound and no pictures. Choose a video."
    reason = without_origin(lines[-1]).rstrip(".")
    return f"is {container.name}, damaged or cut off ({reason}). Copy or download it again, or choose another."


def _rate(described: str) -> float:
    """How many pictures make a second, as the file says or (tbr) as their times say; thousands are written as "1k"."""
    rate = re.search(r", ([\d.]+)(k?) (fps|tbr)\b", described)
    return float(rate[1]) * (1000 if rate[2] else 1) if rate else 0.0


def _assumed_matrix(described: str, width: int, height: int) -> str | None:
    """What players take a film without colour tags for: BT.709 where it is large."""
    pixels = re.search(r", (yuv\w+)(?:\(([^)]*)\))?", described)
    tagged = pixels and MATRICES & set(re.split(r", |/.*", pixels[2] or ""))
    return "bt709" if pixels and not tagged and (width >= HD_WIDTH or height > HD_HEIGHT) else None


def _seconds(lines: list[str]) -> float:
    length = re.search(r"^  Duration: (\d+):(\d+):(\d+\.\d+)", "\n".join(lines), re.MULTILINE)
    return sum(float(part) * unit for part, unit in zip(length.groups(), (3600, 60, 1), strict=True)) if length else 0.0


def _sound(lines: list[str]) -> SoundStream | None:
    stream = re.search(r"^  Stream #0:\d+.*?: Audio: .*?, (\d+) Hz, (\w+)", "\n".join(lines), re.MULTILINE)
    return SoundStream(int(stream[1]), 1 if stream[2] == "mono" else 2) if stream else None
