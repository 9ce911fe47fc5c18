"""The videos that can be loaded: those of ComfyUI's input folder, and those that come with this pack."""

from pathlib import Path

import folder_paths

from ..video.container import is_video

PACK_VIDEOS = Path(__file__).resolve().parents[1] / "clips"
NAMED = 10  # names in a message


class MissingVideoError(ValueError):
    """There is no video of that name."""


def videos() -> list[str]:
    """Return the names of all videos; this pack's own come last."""
    found = videos_in(Path(folder_paths.get_input_directory()))
    return found + [name for name in videos_in(PACK_VIDEOS) if name not in found]


def find_video(name: str) -> Path:
    """Return where a video is, found by its name in `videos`; as in ComfyUI's own loaders it may end in " [output]".

    Raises:
        MissingVideoError: if there is none; files outside of ComfyUI's folders are none.
    """
    if not Path(name).anchor and ".." not in Path(name).parts:
        for path in (Path(folder_paths.get_annotated_filepath(name)), PACK_VIDEOS / name):
            if path.is_file():
                return path
    there = videos()
    some = ", ".join(there[:NAMED]) + ", ..." * (len(there) > NAMED)
    raise MissingVideoError(
        f"There is no video '{name}' in ComfyUI's input folder. There are: {some}. Choose one of "
        "them, or upload a video."
    )


def videos_in(folder: Path) -> list[str]:
    """Return the names of a folder's video files, and of pictures that move; a folder that is missing has none."""
    paths = [path for path in folder.glob("*") if path.is_file()]
    moving = [path.name for path in paths if moves(path)]  # to ComfyUI these are pictures
    return sorted({*folder_paths.filter_files_content_types([path.name for path in paths], ["video"]), *moving})


def moves(path: Path) -> bool:
    """Whether a picture is one that moves: GIFs do, and some WebP and PNG files."""
    return path.suffix.lower() == ".gif" or (path.suffix.lower() in (".webp", ".apng") and is_video(path))
