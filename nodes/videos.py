"""The videos that can be loaded: those of ComfyUI's input folder, and those that come with this pack."""

from pathlib import Path

import folder_paths

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
    folder = folder_paths.get_input_directory()
    raise MissingVideoError(
        f"There is no video '{name}' in {folder}. There are: {some}. Choose one of them, or upload a video."
    )


def videos_in(folder: Path) -> list[str]:
    """Return the names of a folder's video files, GIFs among them; a folder that is missing has none."""
    names = [path.name for path in folder.glob("*") if path.is_file()]
    gifs = [name for name in names if name.lower().endswith(".gif")]  # to ComfyUI these are pictures
    return sorted({*folder_paths.filter_files_content_types(names, ["video"]), *gifs})
