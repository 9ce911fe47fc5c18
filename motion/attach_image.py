"""The comfy side of image to video: what the frames are told about a picture, added while the UNet runs.

The image encoder belongs to the motion module, and is loaded and unloaded with it. It runs once per clip, in the first
UNet call, and its features are kept for the rest of that sample; in windows of a longer clip with several pictures, it
runs again for each window.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn

from .attach import MotionModelError, frames_of_call, motion_config_of, motion_of, places
from .hooks import hung
from .image_encoder import encode_clip, picture_weights

KEY = "animatelcm_image"
ALWAYS_FROM = 1e6  # more than any noise level; ComfyUI's for the start of sampling is 999999999.9
KEPT = 2  # windows' features: all where there is one picture, and never a long clip's, which would fill the card
Shares = tuple[tuple[float, ...], ...]  # of the pictures in each of them


@dataclass(frozen=True)
class Pictures:
    """What a video starts from, or passes through.

    Attributes:
        latents: of the pictures, as a VAE encodes them, (pictures, 4, height / 8, width / 8).
        keyframes: number of the frame that each belongs to, ascending.
        motion_scale: how much frames may differ from the picture, 0 to 1.5; 0 stands still.
        strengths: weight of the feature at each of the UNet's levels, outermost first.
        start: share of the sampling, 0 to 1, from which on the picture is told.
        end: share of the sampling up to which it is told.
    """

    latents: Tensor
    keyframes: tuple[int, ...]
    motion_scale: float = 0.8
    strengths: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    start: float = 0.0
    end: float = 1.0


def attach_pictures(model: ModelPatcher, pictures: Pictures) -> ModelPatcher:
    """Return a clone of `model` whose video moves `pictures`. Pictures that it already has are replaced.

    Raises:
        MotionModelError: if the model has no motion module with an image encoder.
    """
    check_encoder(model)
    patched = model.clone()
    told = PictureFeatures(pictures)
    for kind, wrapper in ((WrappersMP.OUTER_SAMPLE, told.for_one_sample), (WrappersMP.APPLY_MODEL, told)):
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched


@dataclass
class Sample:
    """What is kept during one sample: when pictures are told, and what was encoded."""

    first_sigma: float
    last_sigma: float
    features: dict[Shares, list[Tensor]] = field(default_factory=dict)

    def now(self, features: list[Tensor], sigma: Tensor) -> list[Tensor]:
        """Return the features at a noise level, (), or zeros where they are not told.

        No number is read back from the device, which would wait for it, and a compiled UNet is the same at all times.
        """
        if self.first_sigma > ALWAYS_FROM and self.last_sigma == 0:
            return features
        told = (sigma > self.last_sigma) & (sigma <= self.first_sigma)
        return [feature * told for feature in features]


@dataclass(frozen=True)
class PictureFeatures:
    """Two wrappers: of a whole sample, and of each UNet call in it."""

    pictures: Pictures

    def for_one_sample(self, executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """An OUTER_SAMPLE wrapper: make room for the features of this sample, and check that they will fit."""
        guider = executor.class_obj
        check_encoder(guider.model_patcher)
        check_size(noise, self.pictures.latents)
        check_keyframes(noise, self.pictures.keyframes)
        sampling = guider.model_patcher.get_model_object("model_sampling")
        first, last = (float(sampling.percent_to_sigma(at)) for at in (self.pictures.start, self.pictures.end))
        options = guider.model_options.setdefault("transformer_options", {})  # a copy, made for this sample
        options[KEY] = sample = Sample(first, last)
        advise_on_time(sample, args[2], self.pictures)
        try:
            return executor(noise, *args, **kwargs)
        finally:
            del options[KEY]

    def __call__(
        self,
        executor: Any,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """An APPLY_MODEL wrapper: add each level's feature behind the second layer of its down block."""
        options = transformer_options or {}
        sample: Sample | None = options.get(KEY)
        hooks: list[tuple[nn.Module, Told]] = []
        if sample:
            features = sample.now(self.features(sample, executor, x, options), t[0])
            hooks = list(zip(ends_of_down_blocks(executor), map(Told, features), strict=True))
        with hung(hooks, first=True):  # before the motion module's, whichever wrapper is the outer one
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)

    def features(self, sample: Sample, executor: Any, x: Tensor, options: dict[str, Any]) -> list[Tensor]:
        """Return what the frames of this call are told, encoded unless it is known."""
        # They choose among several pictures. The encoder counts from the first of them, as the motion module does.
        numbers = frames_of_call(options, x).numbers
        weights = picture_weights(numbers, self.pictures.keyframes)
        shares = tuple(map(tuple, weights.tolist()))  # the same in all windows where there is one picture
        if shares not in sample.features:
            base = executor.class_obj
            latents = base.process_latent_in(self.pictures.latents).to(x)
            encoder: Any = motion_of(executor).image_encoder  # `for_one_sample` saw that it has one
            told = encode_clip(encoder, latents, weights, self.pictures.motion_scale)
            dtype = base.manual_cast_dtype or base.get_dtype()
            while len(sample.features) >= KEPT:
                del sample.features[next(iter(sample.features))]
            sample.features[shares] = [
                (f * strength).to(dtype) for f, strength in zip(told, self.pictures.strengths, strict=True)
            ]
        return sample.features[shares]


@dataclass(frozen=True)
class Told:
    """A forward hook that adds one level's feature."""

    feature: Tensor

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Return the layer's output, (conds * frames, channels, height, width), plus the feature in each cond."""
        if output.shape[-2:] != self.feature.shape[-2:]:
            raise MotionModelError(
                "The UNet sees a part of the video, or a smaller one, and the picture to animate is whole. A prompt "
                "for an area needs a mask that is not cut to its bounds: 'Conditioning (Set Mask)' with 'default'. "
                "Nodes that scale inside the UNet, such as Kohya Deep Shrink, do not go together with a picture."
            )
        clips = output.unflatten(0, (-1, len(self.feature)))
        return (clips + self.feature.to(output)).flatten(0, 1)


def ends_of_down_blocks(executor: Any) -> list[nn.Module]:
    """Return the last layer with a temporal transformer in each down block of the UNet."""
    config = motion_of(executor).config
    layers = list(places(executor.class_obj.diffusion_model, config))
    per_block = config.down_modules
    return layers[per_block - 1 : per_block * len(config.down_channels) : per_block]


def advise_on_time(sample: Sample, sigmas: Tensor, pictures: Pictures) -> None:
    """Say that no step falls into the share of the sampling in which pictures are told."""
    steps = sigmas[:-1]
    if not ((steps > sample.last_sigma) & (steps <= sample.first_sigma)).any():
        logging.warning(
            "AnimateLCM: none of the %d steps lies between start %g and end %g, so that the picture to animate is "
            "never told. Set them farther apart in 'AnimateLCM Image to Video'.",
            len(steps),
            pictures.start,
            pictures.end,
        )


def check_encoder(model: ModelPatcher) -> None:
    """Refuse a model without an image encoder."""
    config = motion_config_of(model)
    if config is None or config.image_encoder is None:
        what = "has no motion module" if config is None else "has a motion module without an image encoder"
        raise MotionModelError(
            f"This model {what}, so that it cannot be shown a picture. Choose AnimateLCM_sd15_i2v.ckpt in 'Load "
            "AnimateLCM Motion Module', and put 'Apply AnimateLCM' before this node."
        )


def check_size(noise: Tensor, latents: Tensor) -> None:
    """Refuse a video of another size than the picture was cropped to."""
    if noise.shape[-2:] != latents.shape[-2:]:
        (height, width), (tall, wide) = ((8 * side for side in x.shape[-2:]) for x in (noise, latents))
        raise MotionModelError(
            f"The video is {width} x {height} pixels, and the picture was cropped to {wide} x {tall}. Connect the "
            "latent of 'AnimateLCM Image to Video' to the sampler, or give both the same size."
        )


def check_keyframes(noise: Tensor, keyframes: tuple[int, ...]) -> None:
    """Refuse a video that ends before the last picture's frame."""
    if keyframes[-1] >= len(noise):
        raise MotionModelError(
            f"A picture belongs to frame {keyframes[-1]}, counted from 0, and the video has {len(noise)} frames. "
            "Connect the latent of 'AnimateLCM Image to Video' to the sampler."
        )
