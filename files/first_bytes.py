"""What a file is by its first bytes: one of the two formats of models, or something else that is named."""

from enum import Enum

from .refusal import AGAIN, UnreadableError

LENGTH = 256  # bytes that are enough to tell


class Format(Enum):
    """A format that models come in."""

    SAFETENSORS = ".safetensors"
    ZIP = "a zip archive of a pickle, PyTorch's since 1.6"
    PICKLE = "a bare pickle, PyTorch's before"


MODELS = ((b"PK", Format.ZIP), (b"\x80", Format.PICKLE))
UNPACK = "Unpack it, and use the model in it."
STRANGERS = (
    (b"<", "is a saved web page, not a model", "Use the page's download button instead."),
    (
        b"version https://git-lfs",
        "is a Git-LFS pointer, not the model itself",
        "Run `git lfs pull`, or download the file itself.",
    ),
    (b"GGUF", "is a GGUF file, which is not read here", "Download a .safetensors version of it."),
    (b"7z\xbc\xaf", "is a 7z archive", UNPACK),
    (b"Rar!", "is a RAR archive", UNPACK),
    (b"\x1f\x8b", "is a gzip archive", UNPACK),
    (b"\x89PNG", "is a picture", AGAIN),
    (b"\xff\xd8\xff", "is a picture", AGAIN),
    (b"RIFF", "is a picture or a sound", AGAIN),
)


def format_of(start: bytes) -> Format:
    """Return the format of a file that begins with `start`, its first `LENGTH` bytes.

    Raises:
        UnreadableError: if it is no model at all.
    """
    if start[8:9] == b"{":  # eight bytes of length, then a JSON object
        return Format.SAFETENSORS
    text = start.lstrip()
    if not text.strip(b"\0"):
        raise UnreadableError("is empty" if not text else "has nothing but zeros in it, as unfinished downloads do")
    for magic, what, remedy in STRANGERS:
        if text.startswith(magic):
            raise UnreadableError(what, remedy)
    found = next((form for magic, form in MODELS if start.startswith(magic)), None)
    if found is None:
        kind = "is a text, not a model" if start.isascii() else "is neither a .safetensors nor a .ckpt file inside"
        raise UnreadableError(kind)
    return found
