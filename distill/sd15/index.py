"""What there is to train on: clips and images with a caption each, in folders and in WebDataset shards."""

import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path, PurePosixPath

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from ...video.part import Part, first_bytes

VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif")
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
CAPTION, SHARD = ".txt", ".tar"
LONGEST_CAPTION = 1 << 16  # bytes; a text encoder reads the first 77 tokens


class DataError(ValueError):
    """There is nothing to train on."""


@dataclass(frozen=True)
class Entry:
    """A clip or image and its caption.

    Attributes:
        name: path of the file; of a shard's member, the shard's path and the member's name.
        media: the clip or image.
        caption: text in UTF-8.
    """

    name: str
    media: Path | Part
    caption: Path | Part

    @property
    def is_video(self) -> bool:
        return self.name.lower().endswith(VIDEOS)

    def read_caption(self) -> str:
        """Return the caption.

        Raises:
            OSError, ValueError: if it cannot be read, or is no text.
        """
        text = first_bytes(self.caption, LONGEST_CAPTION + 1)
        if len(text) > LONGEST_CAPTION:
            raise ValueError(f"has a caption of more than {LONGEST_CAPTION} bytes")
        return text.decode().strip()


@dataclass(frozen=True)
class Index:
    """All there is.

    Attributes:
        entries: in the order of their names.
        broken: why a shard, by its path, could not be read or not to its end.
    """

    entries: Sequence[Entry]
    broken: dict[str, str]


@dataclass(frozen=True)
class Shard:
    """What a shard holds.

    Attributes:
        path: of the .tar.
        parts: its members' places in it.
        fault: why it has no more of them; empty if that is all.
    """

    path: Path
    parts: Sequence[Part]
    fault: str = ""


def find_entries(sources: Sequence[str]) -> Index:
    """List all clips and images that have a caption.

    The processes of a run share the work: one lists the files, and each reads some of the shards. A shard that is cut
    off, or none at all, is noted, and what is whole in it is used.

    Args:
        sources: folders (searched with all that is in them), files or shards; "*" and "?" stand for several.

    Raises:
        DataError: if there is none, in every process.
    """
    state = PartialState()
    (files,) = broadcast_object_list([find_files(sources) if state.is_main_process else []])
    paths = [path for path in files if path.suffix == SHARD]
    shards: list[Shard] = gather_object(
        [read_shard(path) for path in paths[state.process_index :: state.num_processes]]
    )
    parts: dict[str, Path | Part] = {f"{path}": path for path in files if path.suffix != SHARD}
    parts |= {f"{shard.path}/{part.name}": part for shard in shards for part in shard.parts}
    entries = with_captions(parts)
    broken = {f"{shard.path}": shard.fault for shard in shards if shard.fault}
    if not entries:
        raise DataError(nothing_found(sources, broken))
    return Index(entries, broken)


def find_files(sources: Iterable[str]) -> list[Path]:
    """List the files that sources stand for, each once."""
    found = [Path(name) for source in sources for name in glob(source)]  # noqa: PTH207 - Path.glob: no absolute ones
    files = [file for path in found for file in (path.rglob("*.*") if path.is_dir() else [path])]
    return sorted(set(files))


def read_shard(path: Path) -> Shard:
    """Find what lies where in a .tar, without reading it."""
    parts: list[Part] = []
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isfile() and member.offset_data + member.size <= size:
                    parts.append(Part(path, member.offset_data, member.size, member.name))
    except (tarfile.TarError, OSError, ValueError) as error:
        return Shard(path, parts, f"{error} ({len(parts)} files were found in it)")
    return Shard(path, parts)


def with_captions(parts: dict[str, Path | Part]) -> list[Entry]:
    """Put files, by their names, together with the captions beside them; what has none is left out."""
    captions = {stem(name): part for name, part in parts.items() if name.endswith(CAPTION)}
    return [
        Entry(name, part, captions[stem(name)])
        for name, part in sorted(parts.items())
        if name.lower().endswith(VIDEOS + IMAGES) and stem(name) in captions
    ]


def stem(name: str) -> str:
    """WebDataset's key: the name up to the first dot of its last part."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


def nothing_found(sources: Sequence[str], broken: dict[str, str]) -> str:
    """Why there is nothing, for people."""
    faults = "".join(f" {shard} cannot be read: {fault}." for shard, fault in [*broken.items()][:1])
    return (
        f"There is nothing to train on in {', '.join(sources)}. Expected {', '.join(VIDEOS + IMAGES)} files with a "
        f"caption beside each, under the same name with {CAPTION}; or {SHARD} shards of them.{faults}"
    )
