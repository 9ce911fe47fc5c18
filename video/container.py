"""What a file is, by its first bytes: only files that hold their own pictures are videos here.

ffmpeg finds out by itself, and then also follows playlists, manifests and scripts to any file of the machine and of
the network, and draws texts. So what may be opened is decided here, and ffmpeg is told to read it as that.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from .frames import VideoError
from .part import Part, first_bytes

HEAD = 1 << 16  # bytes to look at: a colour profile may precede what makes a WebP or a PNG an animation
READABLE = "MP4, WebM, MOV, MKV, AVI, GIF, animated WebP or PNG, MPEG, WMV, FLV or OGV"


@dataclass(frozen=True)
class Container:
    """A kind of file that holds its own pictures.

    Attributes:
        name: as people know it.
        demuxer: the part of ffmpeg that reads it, and the only one that may.
        late: seconds by which ffmpeg may come out too late in it where it looks for a place.
    """

    name: str
    demuxer: str
    late: float = 0.0


CONTAINERS = {
    rb".{4}(ftyp|moov|mdat|free|skip|wide|pnot)": Container("an MP4 or MOV file", "mov"),
    rb"\x1aE\xdf\xa3": Container("a WebM or MKV file", "matroska"),
    rb"RIFF.{4}AVI ": Container("an AVI file", "avi"),
    rb"GIF8[79]a": Container("a GIF file", "gif"),
    rb"RIFF.{4}WEBPVP8X.*ANIM": Container("an animated WebP file", "webp_anim", late=math.inf),
    rb"\x89PNG\r\n\x1a\n.*acTL": Container("an animated PNG file", "apng"),
    rb"\x00\x00\x01\xba": Container("an MPEG file", "mpeg", late=10.0),
    rb"G.{187}G.{187}G|.{4}G.{191}G.{191}G": Container("an MPEG transport stream", "mpegts", late=10.0),
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11": Container("a WMV file", "asf"),
    rb"FLV\x01": Container("an FLV file", "flv"),
    rb"OggS": Container("an OGV file", "ogg"),
}

NAMES_OTHERS = "a text that names other files. Choose the video itself"
OTHERS = {
    rb"\Z": "empty. Copy or upload it again",
    rb"\s*#EXTM3U": f"an HLS playlist, {NAMES_OTHERS}",
    rb"\s*(<\?xml.*)?<MPD\b": f"a DASH manifest, {NAMES_OTHERS}",
    rb"\s*ffconcat": f"a script for ffmpeg, {NAMES_OTHERS}",
    rb"\s*<(!doctype|html|head)": "a web page, as downloads that went wrong are. Download the video again",
    rb"\x89PNG|\xff\xd8\xff|RIFF.{4}WEBP|BM|II\*\x00|MM\x00\*": "a picture. Load it with 'Load Image'",
    rb"ID3|fLaC|RIFF.{4}WAVE": "sound without pictures. Choose a video",
}


def container_of(path: Path | Part) -> Container:
    """Return what kind of video a file, or a part of one, is, whatever its name says.

    Raises:
        VideoError: if it is none; the message says what it is, as far as that shows.
    """
    head = first_bytes(path, HEAD)
    for start, container in CONTAINERS.items():
        if re.match(start, head, re.DOTALL):
            return container
    plain = head.removeprefix(b"\xef\xbb\xbf")  # the mark that some editors put before a text
    for start, what in OTHERS.items():
        if re.match(start, plain, re.DOTALL | re.IGNORECASE):
            raise VideoError(f"{path.name} is no video but {what}.")
    if is_text(plain):
        raise VideoError(f"{path.name} is no video but a text. Choose an {READABLE} file.")
    raise VideoError(
        f"{path.name} is no video that can be read: no known one begins with the bytes {head[:8].hex(' ')}. Choose an "
        f"{READABLE} file."
    )


def is_video(path: Path) -> bool:
    """Whether a file begins as one of the containers does; one that cannot be read does not."""
    try:
        return bool(container_of(path))
    except (VideoError, OSError):
        return False


def is_text(head: bytes) -> bool:
    """Whether the beginning of a file, which may end within a character, is text for people or for a terminal."""
    cut_off = 3  # bytes of a character
    text = head.decode("utf-8", errors="ignore")
    return len(text.encode()) >= len(head) - cut_off and not re.search(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]", text)
