"""`python -m distill <stage>`: put the repository under one package name, as ComfyUI does, and run the command."""

import sys
import types
from pathlib import Path

package = types.ModuleType("animatelcm")
package.__path__ = [str(Path(__file__).parents[1])]
sys.modules.setdefault("animatelcm", package)

from animatelcm.distill.command import main  # noqa: E402  (the package has to exist first)

main()
