"""SD1.5, frozen, in the classes of diffusers, and what hangs on its UNet: a LoRA, a motion module, a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextModel, CLIPTokenizer

from ...motion.transformer import MotionModule
from ..lora import Lora
from ..places import BLOCKS_PER_LEVEL, changed, freeze, places
from .config import ConfigError


@dataclass(frozen=True)
class Residuals:
    """What takes part in the UNet's next call, and in the backward pass that follows it.

    Attributes:
        lora: low-rank residuals, with their strength beta.
        motion: temporal transformers, with the number of frames that their clips have.
        image_features: the image encoder's features, (rows, C, h, w) per level.
    """

    lora: Lora | None = None
    beta: float = 1.0
    motion: MotionModule | None = None
    frames: int = 1
    image_features: Sequence[Tensor] = ()


class Base:
    """Not a module: what is frozen is neither trained, nor averaged, nor kept in checkpoints.

    Args:
        unet, vae, text, tokenizer: the parts of SD1.5.
        gradient_checkpointing: compute features again in the backward pass instead of keeping them.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        gradient_checkpointing: bool = False,
    ) -> None:
        self.unet, self.vae, self.text, self.tokenizer = freeze(unet), freeze(vae), freeze(text), tokenizer
        self.gradient_checkpointing = gradient_checkpointing
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        self.residuals = Residuals()
        self._hang()

    @classmethod
    def load(cls, folder: str, gradient_checkpointing: bool = False) -> "Base":
        """Read a diffusers folder, or what has that name on the Hugging Face hub.

        Raises:
            ConfigError: if it is not there, or not an SD1.5.
        """
        try:
            return cls(
                UNet2DConditionModel.from_pretrained(folder, subfolder="unet"),
                AutoencoderKL.from_pretrained(folder, subfolder="vae"),
                CLIPTextModel.from_pretrained(folder, subfolder="text_encoder"),
                CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
                gradient_checkpointing,
            )
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"networks.base is {folder}, and cannot be read: {str(error).splitlines()[0]} Expected SD1.5 as a "
                "diffusers folder, with unet, vae, text_encoder and tokenizer in it; diffusers' "
                "StableDiffusionPipeline.from_single_file(...).save_pretrained(...) makes one of a checkpoint."
            ) from None

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        networks: tuple[nn.Module, ...] = (self.unet, self.vae, self.text)
        for network in networks:
            network.to(device, dtype)

    @property
    def device(self) -> torch.device:
        return self.unet.device

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """Context of shape (N, 77, 768)."""
        length = self.text.config.max_position_embeddings
        tokens = self.tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return self.text(tokens.input_ids.to(self.device)).last_hidden_state

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Latents of pixels (N, F, 3, H, W) in -1..1, a frame at a time: (N, F, 4, H / 8, W / 8), float32."""
        frames = pixels.flatten(0, 1).to(self.device, self.vae.dtype)
        drawn = [self.vae.encode(frame[None]).latent_dist.sample() for frame in frames]
        return (torch.cat(drawn) * self.vae.config.scaling_factor).float().unflatten(0, pixels.shape[:2])

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pixels in 0..1 of latents, in `encode`'s shapes; on the CPU."""
        frames = (latents.flatten(0, 1) / self.vae.config.scaling_factor).to(self.vae.dtype)
        pixels = torch.cat([self.vae.decode(frame[None]).sample.cpu() for frame in frames])
        return (pixels.float() / 2 + 0.5).clamp(0, 1).unflatten(0, latents.shape[:2])

    def predict_noise(self, x: Tensor, timestep: Tensor, context: Tensor, residuals: Residuals = Residuals()) -> Tensor:
        """The noise prediction for clips (N, F, 4, h, w), with one timestep and one context per clip; float32.

        What hangs on the UNet stays there until the next call, as gradient checkpointing runs layers once more.
        """
        frames = x.shape[1]
        self.residuals = residuals
        predicted = self.unet(
            x.flatten(0, 1).to(self.unet.dtype),
            timestep.to(x.device).repeat_interleave(frames),
            encoder_hidden_states=context.repeat_interleave(frames, dim=0).to(self.unet.dtype),
            return_dict=False,
        )[0]
        return predicted.float().unflatten(0, x.shape[:2])

    # What hangs there

    def _hang(self) -> None:
        for name, layer in self.unet.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.register_forward_hook(self._with_lora(name))
        layers = list(places(self.unet))
        self.middle = layers.index(self.unet.mid_block.attentions[0])
        for level, end in enumerate(layers[BLOCKS_PER_LEVEL - 1 : 4 * BLOCKS_PER_LEVEL : BLOCKS_PER_LEVEL]):
            end.register_forward_hook(self._with_picture(level))
        for number, layer in enumerate(layers):
            layer.register_forward_hook(self._with_motion(number))

    def _with_lora(self, name: str) -> Callable[..., Tensor]:
        def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            residuals = self.residuals
            return (
                output
                if residuals.lora is None
                else output + residuals.beta * residuals.lora.added(name, layer, inputs[0])
            )

        return hook

    def _with_picture(self, level: int) -> Callable[..., Any]:
        return changed(
            lambda h: h + self.residuals.image_features[level].to(h.dtype) if self.residuals.image_features else h
        )

    def _with_motion(self, number: int) -> Callable[..., Any]:
        def move(h: Tensor) -> Tensor:
            block = self._block(number)
            if block is None:
                return h
            if self.gradient_checkpointing and torch.is_grad_enabled():
                return checkpoint(block, h, self.residuals.frames, use_reentrant=False)
            return block(h, self.residuals.frames)

        return changed(move)

    def _block(self, number: int) -> nn.Module | None:
        """The temporal transformer of a place; some motion modules have none in the middle."""
        motion = self.residuals.motion
        if motion is None:
            return None
        blocks: list[nn.Module | None] = list(motion.blocks())
        if not len(motion.mid_block):
            blocks.insert(self.middle, None)
        return blocks[number]
