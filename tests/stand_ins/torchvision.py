"""Import-only stand-in, see import_only.py."""

from import_only import names_of

__path__: list[str] = []  # a package, whose submodules are found there
__getattr__ = names_of(__name__)
