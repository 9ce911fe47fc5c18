"""What nodes that save a video have in common: where it goes, what it remembers, how the page shows it."""

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import io, ui

from ..video.formats import FORMATS
from ..video.frames import VideoError
from ..video.sound import Sound
from ..video.unfinished import cannot_save
from ..video.write import Frames, VideoSettings, write_video
from .progress import on_frame


def saving_inputs() -> list[io.Input]:
    """What is asked of a video that is saved; the page keeps the values by their order."""
    return [
        io.Float.Input(
            "fps",
            default=8.0,
            min=0.1,
            max=120.0,
            step=0.1,
            tooltip="Frames per second, 0.1 to 120. Motion modules are trained at 8.",
        ),
        io.String.Input(
            "filename_prefix",
            default="AnimateLCM/video",
            tooltip="Folder and beginning of the name below ComfyUI's output folder; a number is added. "
            "%year%, %month%, %day% and the like are filled in.",
        ),
        io.Combo.Input(
            "format",
            options=list(FORMATS),
            default=next(iter(FORMATS)),
            tooltip="MP4 (H.264) plays everywhere, WebM is smaller, GIF plays in messages and has 256 colours at most, "
            "ProRes and a PNG sequence are for editing. GIF, WebP and PNG have no sound.",
        ),
        io.Int.Input(
            "quality",
            default=80,
            min=0,
            max=100,
            display_mode=io.NumberDisplay.slider,
            tooltip="0 is the smallest file, 100 nearly the frames as they are. In a GIF: how many colours. A PNG "
            "sequence is always exact.",
        ),
        io.Boolean.Input(
            "ping_pong", default=False, tooltip="Play forwards, then backwards: the end meets the beginning."
        ),
    ]


def audio_input() -> io.Audio.Input:
    """The sound that is saved with a video."""
    return io.Audio.Input(
        "audio",
        optional=True,
        tooltip="Sound to play from the first frame on. What is longer than the video is left out; of several, the "
        "first counts.",
    )


def save(
    frames: Frames,
    hidden: Any,
    fps: float,
    filename_prefix: str,
    format: str,
    quality: int,
    ping_pong: bool,
    audio: Mapping[str, Any] | None,
) -> io.NodeOutput:
    """Save frames below ComfyUI's output folder, and show the file on the node; the rest are the values of its inputs.

    Args:
        frames: (frames, height, width, 3 or more), 0 to 1, as one tensor or made when they are asked for.
        hidden: of the node, with the prompt and what else the page sent.
    """
    height, width = frames[0].shape[:2]
    path, subfolder = next_path(filename_prefix, FORMATS[format].suffix, width, height)
    settings = VideoSettings(fps, quality, ping_pong, FORMATS[format], sound_of(audio))
    # ComfyUI clears its temporary folder at its start and at its end: a kill leaves nothing for ever
    write_video(path, frames, settings, graph(hidden), on_frame(), Path(folder_paths.get_temp_directory()))
    return io.NodeOutput(ui=shown(path, subfolder))


def sound_of(audio: Mapping[str, Any] | None) -> Sound | None:
    """Return ComfyUI's AUDIO, waveform (batch, channels, samples), as the sound of one video."""
    return Sound(audio["waveform"][0], int(audio["sample_rate"])) if audio is not None else None


def audio_of(sound: Sound) -> dict[str, Any]:
    """The inverse of `sound_of`."""
    return {"waveform": sound.waveform[None], "sample_rate": sound.rate}


def next_path(prefix: str, suffix: str, width: int, height: int) -> tuple[Path, str]:
    """Return a path that is free, and its folder below ComfyUI's output folder.

    Raises:
        VideoError: if there can be no file of that name.
    """
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            prefix, folder_paths.get_output_directory(), width, height
        )
        path = Path(folder) / f"{name}_{counter:05}_{suffix}"
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name that cannot be is found out now, and not after all the work
    except OSError as error:
        raise VideoError(cannot_save(prefix, error.errno, error.strerror)) from error
    except ValueError as error:  # a zero, or half of a character
        raise VideoError(f"{prefix!r} cannot be a file's name ({error}). Choose another filename_prefix.") from error
    return path, subfolder


def graph(hidden: Any) -> dict[str, Any]:
    """Return what a file remembers: the prompt and the workflow, unless ComfyUI was told to store nothing."""
    if args.disable_metadata:
        return {}
    more = hidden.extra_pnginfo or {}
    if not isinstance(more, Mapping):
        logging.warning("AnimateLCM: extra_pnginfo is no dictionary: the video does not remember its workflow.")
        more = {}
    return {"prompt": hidden.prompt, **more}


def shown(path: Path, subfolder: str) -> ui.PreviewVideo | ui.SavedImages:
    """What the page shows on the node: the video, or the pictures of a sequence.

    A GIF is told as a picture: the page takes all that is animated and no WebP or PNG for a video, and cannot play it.
    """
    if path.is_file():
        result = ui.SavedResult(path.name, subfolder, io.FolderType.output)
        return ui.SavedImages([result]) if path.suffix == ".gif" else ui.PreviewVideo([result])
    inside = f"{subfolder}/{path.name}" if subfolder else path.name
    pictures = sorted(picture.name for picture in path.iterdir())
    return ui.SavedImages([ui.SavedResult(name, inside, io.FolderType.output) for name in pictures])
