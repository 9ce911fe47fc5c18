"""Import-only stand-in: ComfyUI imports torchvision at start for models that this pack never runs.

PyPI's torchvision and torchaudio are tied to one build of torch and do not import beside another (the CPU one, say).
Only ComfyUI's processes see this folder. It carries no package metadata, so that
diffusers and transformers take both for absent.
"""

from . import transforms as transforms
