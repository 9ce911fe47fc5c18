"""`python -m files FILE...`: say what model files are. The repository gets one package name, as ComfyUI gives it."""

import sys
import types
from pathlib import Path

package = types.ModuleType("animatelcm")
package.__path__ = [str(Path(__file__).parents[1])]
sys.modules.setdefault("animatelcm", package)

from animatelcm.files.inspect import inspect  # noqa: E402  (the package has to exist first)
from animatelcm.files.kinds import MOTION_MODULE  # noqa: E402
from animatelcm.files.refusal import ModelFileError  # noqa: E402
from animatelcm.motion.checkpoint import describe_motion_module  # noqa: E402


def main(paths: list[str]) -> int:
    """Write what each file is; the exit status is 1 where one of them cannot be used."""
    status = 0
    for path in map(Path, paths):
        try:
            lines = inspect(path, {MOTION_MODULE: describe_motion_module})
        except ModelFileError as error:
            lines, status = [str(error)], 1
        except OSError as error:
            lines, status = [f"{path.name}: {error.strerror}."], 1
        sys.stdout.write("\n    ".join(lines) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
