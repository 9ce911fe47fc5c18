"""The mini family through the nodes in this process: sampled and decoded clips, without a server."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from _mini import WINDOWS
from _pack import import_pack
from torch import Tensor

import_pack()

import comfy.sd  # noqa: E402 - ComfyUI has to know by now whether there is a GPU
import folder_paths  # noqa: E402 - likewise
from animatelcm.nodes.apply import AUTOMATIC, AnimateLCMApply  # noqa: E402 - likewise
from animatelcm.nodes.folders import register_folders  # noqa: E402 - likewise
from animatelcm.nodes.load_motion_module import AnimateLCMLoadMotionModule  # noqa: E402 - likewise
from animatelcm.nodes.long_clip import AnimateLCMLongClip  # noqa: E402 - likewise
from animatelcm.nodes.mini import register_mini  # noqa: E402 - likewise
from animatelcm.nodes.sampler import AnimateLCMSampler  # noqa: E402 - likewise

NAME = "animatelcm_mini_synthetic"
FILES = {"checkpoints": "", "animatediff_models": "_t2v", "loras": "_lcm_lora"}
STEPS = 4


class Family:
    """The mini family as its loaders return it."""

    def __init__(self) -> None:
        register_folders()
        register_mini()
        torch.set_grad_enabled(False)
        paths = [folder_paths.get_full_path_or_raise(kind, f"{NAME}{end}.safetensors") for kind, end in FILES.items()]
        self.weights = hashlib.sha256(b"".join(Path(path).read_bytes() for path in paths)).hexdigest()[:12]
        model, clip, self.vae, *_ = comfy.sd.load_checkpoint_guess_config(paths[0])
        self.model, self.clip = AnimateLCMApply.execute(
            model=model,
            clip=clip,
            motion_module=AnimateLCMLoadMotionModule.execute(f"{NAME}_t2v.safetensors")[0],
            acceleration_lora=f"{NAME}_lcm_lora.safetensors",
            style_lora="none",
            alpha=1.0,
            beta=0.8,
            gamma=1.0,
            schedule=AUTOMATIC,
        ).args

    def encode(self, words: str) -> list[list[Any]]:
        """A prompt's conditioning."""
        encoded: list[list[Any]] = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(words))
        return encoded

    def in_windows(self) -> Any:
        """The model that samples long clips, as 'AnimateLCM Long Clip' has it by default."""
        return AnimateLCMLongClip.execute(self.model, **WINDOWS)[0]

    def sampled(self, model: Any, conditioning: list[list[Any]], frames: int, seed: int, size: int = 8) -> Tensor:
        """The latents of a clip, (frames, 4, size, size)."""
        latent = {"samples": torch.zeros(frames, 4, size, size)}
        return AnimateLCMSampler.execute(model, conditioning, latent, seed, STEPS, 1.0, 1.0)[0]["samples"]

    def decoded(self, latents: Tensor) -> Tensor:
        """The frames of a clip, (frames, 3, 64, 64) in 0..1."""
        return self.vae.decode(latents).movedim(-1, 1).cpu()
