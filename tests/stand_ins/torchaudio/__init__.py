"""Import-only stand-in, see ../torchvision/__init__.py."""

from . import transforms as transforms
