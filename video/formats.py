"""The formats that frames are saved in, and what ffmpeg is told for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .frames import VideoError
from .metadata import append_gif_comments, append_webp_exif, insert_png_texts

AAC = ("-c:a", "aac", "-b:a", "192k")
OPUS = ("-c:a", "libopus", "-b:a", "160k")
PCM = ("-c:a", "pcm_s16le")
TAGS_IN_FRONT = ("-movflags", "+faststart+use_metadata_tags")


def nothing_more(part: Path, texts: Mapping[str, str], size: tuple[int, int]) -> None:
    """Leave the file as ffmpeg wrote it, with the texts as metadata."""


@dataclass(frozen=True)
class Format:
    """A kind of file to save.

    Attributes:
        suffix: of its name; a folder of pictures has none.
        options: ffmpeg's, from 0 (closest to the frames) to 1 (smallest file).
        sound: ffmpeg's options for sound; none where the format has no sound.
        even: whether width and height have to be even, as colours are stored for 2x2 pixels.
        finish: adds texts, of pictures of a size (width, height), where ffmpeg cannot.
    """

    suffix: str
    options: Callable[[float], list[str]]
    sound: tuple[str, ...] = ()
    even: bool = True
    finish: Callable[[Path, Mapping[str, str], tuple[int, int]], None] = nothing_more


def bt709(pixels: str) -> list[str]:
    """Return the filters from RGB to the colours that players know, and to saying so: without, they guess by size."""
    tags = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    scaled = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"
    return ["-vf", f"{scaled},format={pixels},{tags}"]


def h264(worse: float) -> list[str]:
    return [*bt709("yuv420p"), "-c:v", "libx264", "-preset", "medium", "-crf", f"{8 + 34 * worse:.0f}", *TAGS_IN_FRONT]


def h265(worse: float) -> list[str]:
    codec = ["-c:v", "libx265", "-crf", f"{10 + 34 * worse:.0f}", "-tag:v", "hvc1", "-x265-params", "log-level=error"]
    return [*bt709("yuv420p"), *codec, *TAGS_IN_FRONT]


def av1(worse: float) -> list[str]:
    return [*bt709("yuv420p"), "-c:v", "libsvtav1", "-preset", "8", "-crf", f"{10 + 45 * worse:.0f}"]


def av1_in_mp4(worse: float) -> list[str]:
    return [*av1(worse), *TAGS_IN_FRONT]


def vp9(worse: float) -> list[str]:
    codec = ["-c:v", "libvpx-vp9", "-crf", f"{10 + 50 * worse:.0f}", "-b:v", "0", "-row-mt", "1", "-cpu-used", "2"]
    return [*bt709("yuv420p"), *codec]


def prores(worse: float) -> list[str]:
    """From HQ over standard and LT to proxy."""
    profile = f"{3 - 3 * worse:.0f}"
    return [*bt709("yuv422p10le"), "-c:v", "prores_ks", "-profile:v", profile, "-vendor", "apl0", *TAGS_IN_FRONT]


def gif(worse: float) -> list[str]:
    palette = f"palettegen=max_colors={round(256 - 224 * worse)}:reserve_transparent=0"
    return ["-vf", f"split[a][b];[a]{palette}[p];[b][p]paletteuse", "-loop", "0"]


def webp(worse: float) -> list[str]:
    chosen = ["-quality", f"{100 - 100 * worse:.0f}"] if worse else ["-lossless", "1"]
    return ["-c:v", "libwebp_anim", *chosen, "-loop", "0"]


def png(worse: float) -> list[str]:
    """Lossless at any quality."""
    return ["-c:v", "png", "-f", "image2", "-start_number", "1"]


# The first of a suffix is what that suffix means; the page keeps the names in workflows
FORMATS = {
    "MP4 (H.264)": Format(".mp4", h264, AAC),
    "WebM (VP9)": Format(".webm", vp9, OPUS),
    "GIF": Format(".gif", gif, even=False, finish=append_gif_comments),
    "MP4 (H.265)": Format(".mp4", h265, AAC),
    "MP4 (AV1)": Format(".mp4", av1_in_mp4, AAC),
    "WebM (AV1)": Format(".webm", av1, OPUS),
    "MOV (ProRes)": Format(".mov", prores, PCM),
    "WebP": Format(".webp", webp, even=False, finish=append_webp_exif),
    "PNG sequence": Format("", png, even=False, finish=insert_png_texts),
}


def format_of(path: Path) -> Format:
    """Return the format that a suffix means.

    Raises:
        VideoError: if it means none.
    """
    for format in FORMATS.values():
        if format.suffix == path.suffix:
            return format
    suffixes = ", ".join(dict.fromkeys(format.suffix for format in FORMATS.values() if format.suffix))
    raise VideoError(f"{path.suffix} is not a video format. Expected one of {suffixes}.")
