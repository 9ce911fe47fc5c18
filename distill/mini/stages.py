"""The stages, in order. Each reads the results of the earlier ones from the run's folder and leaves its own there."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, ControlNetModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...layout.draw import outline
from ...motion.image_encoder import ImageEncoder
from ...motion.transformer import MotionModule
from ...sampling.schedule import I2V
from ..diffusion import BASE, LATENT_RANGE, MOTION, Model, add_noise, alpha_bar_at, denoising_loss
from ..distillation import Networks, Solver, absorbed, distillation_loss, move_average, training_loss
from ..lora import RANK, Lora, Merged
from ..places import freeze
from .autoencoder import build_autoencoder, build_encoder, crops, reconstruction_loss, stills
from .pool import Pool, fill_pool
from .scenes import FRAMES, SIZE, STYLES, Scenes, attributes, caption, draw_scenes
from .text import WIDTH, build_text_encoder, encode_text
from .train import Budget, TrainingStep, rank, save, train
from .unet import (
    build_controlnet,
    build_image_encoder,
    build_motion,
    build_unet,
    predict_controlled_noise,
    predict_noise,
    predict_video_noise,
)

POOL_CLIPS = 4800
STYLE_CLIPS = 150  # per process; their frames are what a style, or the personalized image model, is learned from
STYLE_RANK = 16
SHORT = 30  # minutes of an ablation
BETA = 0.8  # strength of the acceleration LoRA in training, so that the published default is this family's best
TARGET_EMA = 0.95
SCALE_OF_SPEED = 0.8 / 1.5  # motion scale per pixel of a frame: the published default is the usual speed
HINT_LINE = 2  # pixels, as 'AnimateLCM Layout Hints' draws by default
# The teacher's guidance is baked into the student: more says more clearly where to go, and too much spoils shapes
IMAGE_SOLVER = Solver(BASE, (2.0, 4.0), latent_range=LATENT_RANGE)
VIDEO_SOLVER = Solver(MOTION, (5.0, 7.0), longest_step=10, noisy=0.5, latent_range=LATENT_RANGE)
TO_DATA = 0.5  # of consistency training's rows
ON_ONE_FRAME = 0.4  # of the image encoder's time, and with so many examples in place of each clip:
STILLS_PER_CLIP = 4


# What stages hand to each other


def load_autoencoder(run: Path) -> AutoencoderTiny:
    autoencoder = build_autoencoder()
    autoencoder.load_state_dict(torch.load(run / "vae.pt", weights_only=True))
    return freeze(autoencoder)


def build_base() -> nn.ModuleDict:
    """The image model: "unet" and "text"."""
    torch.manual_seed(0)
    return nn.ModuleDict({"unet": build_unet(), "text": build_text_encoder()})


def load_base(run: Path, stage: str = "base") -> nn.ModuleDict:
    base = build_base()
    base.load_state_dict(torch.load(run / f"{stage}.pt", weights_only=True))
    return freeze(base)


def load_motion(run: Path, stage: str) -> MotionModule:
    """The motion module of a stage: "motion", the teacher's, or "lcm_video", the student's."""
    motion = build_motion()
    motion.load_state_dict(torch.load(run / f"{stage}.pt", weights_only=True))
    return motion


def load_image_encoder(run: Path) -> ImageEncoder:
    encoder = build_image_encoder()
    encoder.load_state_dict(torch.load(run / "image_encoder.pt", weights_only=True))
    return freeze(encoder)


def load_layout(run: Path) -> ControlNetModel:
    controlnet = build_controlnet(build_unet())
    controlnet.load_state_dict(torch.load(run / "layout.pt", weights_only=True))
    return freeze(controlnet)


def build_lora(stage: str) -> Lora:
    return Lora(build_unet(), STYLE_RANK if stage.startswith("style") else RANK)


def load_lora(run: Path, stage: str = "lcm_image") -> Lora:
    """A stage's LoRA, of whatever rank it was trained with."""
    weights = torch.load(run / f"{stage}.pt", weights_only=True)
    lora = Lora(build_unet(), max(len(w) for name, w in weights.items() if name.startswith("down.")))
    lora.load_state_dict(weights)
    return freeze(lora)


def load_text(run: Path) -> dict[str, Tensor]:
    trained = torch.load(run / "text.pt", weights_only=True)
    return {name.removeprefix("text."): value for name, value in trained.items() if name.startswith("text.")}


def load_pool(run: Path) -> Pool:
    kept = torch.load(run / "pool.pt", weights_only=True)
    return Pool(Scenes(**kept["scenes"]), kept["latents"])


# The stages


def train_vae(run: Path, minutes: float = 8) -> None:
    """The decoder: windows around the shapes for three quarters of the time, then whole images."""
    autoencoder = build_autoencoder()
    if (run / "vae.pt").exists():  # train the decoder on; whatever was encoded stays valid
        autoencoder.load_state_dict(torch.load(run / "vae.pt", weights_only=True))
        autoencoder.encoder.requires_grad_(False)
    else:
        build_encoder(autoencoder.encoder.layers)
    budget = Budget(minutes, batch=8, learning_rate=2e-3, ema=0.99)

    def loss(now: TrainingStep) -> Tensor:
        images = stills(budget.local_batch, int(torch.randint(2**31, (), generator=now.generator)), now.generator)
        images = crops(images, now.generator) if now.spent < 0.75 else images
        return reconstruction_loss(autoencoder, images.contiguous(memory_format=torch.channels_last))

    save(run / "vae.pt", autoencoder.state_dict() | train("vae", run, autoencoder, loss, budget))


def encode_pool(run: Path) -> None:
    """The clips that all later stages train on, rendered and encoded once."""
    if not (run / "pool.pt").exists():
        pool = fill_pool(load_autoencoder(run), POOL_CLIPS, seed=1)
        save(run / "pool.pt", {"scenes": vars(pool.scenes), "latents": pool.latents})


def train_text(run: Path, minutes: float = 1.5) -> None:
    """The text encoder alone, so that what a caption says can be read from the mean of its 77 tokens.

    CLIP's part in SD1.5 (our choice of a task): a text encoder that starts at random hides the words among the padding,
    and the image model then needs hours to find those that change little in the picture.
    """
    encoder, readout = build_text_encoder(), nn.Linear(WIDTH, sum(attributes().values()))
    budget = Budget(minutes, batch=64)

    def loss(now: TrainingStep) -> Tensor:
        scenes = draw_scenes(budget.local_batch, int(torch.randint(2**31, (), generator=now.generator)))
        context = encode_text(encoder, [caption(scenes, i) for i in range(len(scenes))])
        logits = readout(context.mean(1)).split(list(attributes().values()), dim=1)
        parts = zip(logits, attributes(), strict=True)
        return torch.stack([cross_entropy(part, getattr(scenes, name)) for part, name in parts]).sum()

    trained = nn.ModuleDict({"text": encoder, "readout": readout})
    save(run / "text.pt", trained.state_dict() | train("text", run, trained, loss, budget))


def train_base(run: Path, minutes: float = 50) -> None:
    """The image model and its text encoder together: noise prediction on single frames.

    Half of the frames are noised with the motion module's betas (our choice), so that the image model knows the noise
    levels that it will meet under it, and the motion module need not correct them.
    """
    base, pool = build_base(), load_pool(run)
    if (run / "base.pt").exists():  # train it on
        base.load_state_dict(torch.load(run / "base.pt", weights_only=True))
    else:
        base["text"].load_state_dict(load_text(run))
    budget = Budget(minutes, batch=32)

    def loss(now: TrainingStep) -> Tensor:
        x0, captions = pool.draw_stills(budget.local_batch, now.generator)
        x, timestep, epsilon, alpha_bar = noised_stills(x0)
        predicted = predict_noise(base["unet"], x, timestep, encode_text(base["text"], captions))
        return denoising_loss(predicted, epsilon, alpha_bar)

    save(run / "base.pt", base.state_dict() | train("base", run, base, loss, budget))


def train_motion(run: Path, minutes: float = 86) -> None:
    """The teacher's motion module on the frozen image model: noise prediction on clips, with the motion betas."""
    base, pool, motion = load_base(run), load_pool(run), build_motion()
    for block in motion.blocks():  # start as the image model: a residual branch that adds nothing
        nn.init.zeros_(block.proj_out.weight)
        nn.init.zeros_(block.proj_out.bias)
    budget = Budget(minutes, batch=2)

    def loss(now: TrainingStep) -> Tensor:
        x0, captions = pool.draw_clips(budget.local_batch, now.generator)
        timestep, epsilon = clip_timesteps(len(x0), now.generator), torch.randn_like(x0)
        x = add_noise(x0, epsilon, alpha_bar_at(MOTION, timestep, x0))
        with torch.no_grad():
            context = encode_text(base["text"], captions)
        predicted = predict_video_noise(base["unet"], motion, x, timestep, context)
        return denoising_loss(predicted, epsilon, alpha_bar_at(MOTION, timestep, x0))

    save(run / "motion.pt", train("motion", run, motion, loss, budget))


def train_lcm_image(run: Path, minutes: float = 5) -> None:
    """The acceleration LoRA: consistency distillation of the image model; only the residuals train."""
    base, pool, lora = load_base(run), load_pool(run), build_lora("lcm_image")
    unet, target = base["unet"], _Target(lora)
    budget = Budget(minutes, batch=32)

    def loss(now: TrainingStep) -> Tensor:
        average = target.follow()
        x0, captions = pool.draw_stills(budget.local_batch, now.generator)
        context, empty = contexts(base, captions)
        online, goal = (Merged(unet, residuals.merged(unet, BETA)) for residuals in (lora, average))
        networks = Networks(
            lambda x, t: predict_noise(online, x, t, context),
            lambda x, t: predict_noise(goal, x, t, context),
            lambda x, t: predict_noise(unet, x, t, context),
            lambda x, t: predict_noise(unet, x, t, empty),
        )
        return distillation_loss(networks, x0, IMAGE_SOLVER)

    save(run / "lcm_image.pt", train("lcm_image", run, lora, loss, budget))


def train_lcm_video(run: Path, minutes: float = 150, *, stage: str = "lcm_video", lora_in_target: bool = False) -> None:
    """The AnimateLCM motion module: consistency distillation of clips; only the motion module trains.

    The paper's initialization strategy: the target starts as the image model without the LoRA, which enters it through
    the moving average alone. With the LoRA on from the start, temporal layers that never met it would spoil what the
    student learns: `lora_in_target` shows that.
    """
    base, pool, lora = load_base(run), load_pool(run), load_lora(run)
    unet, teacher = base["unet"], freeze(load_motion(run, "motion"))
    trained_on = (run / f"{stage}.pt").exists()
    motion = load_motion(run, stage if trained_on else "motion")
    target = _Target(motion)
    online = Merged(unet, lora.merged(unet, BETA))
    budget = Budget(minutes, batch=2, learning_rate=5e-4)

    def loss(now: TrainingStep) -> Tensor:
        average = target.follow()
        lora_weight = 1.0 if lora_in_target or trained_on else absorbed(now.step, TARGET_EMA)
        goal = Merged(unet, lora.merged(unet, BETA * lora_weight))
        x0, captions = pool.draw_clips(budget.local_batch, now.generator)
        context, empty = contexts(base, captions)
        networks = Networks(
            lambda x, t: predict_video_noise(online, motion, x, t, context),
            lambda x, t: predict_video_noise(goal, average, x, t, context),
            lambda x, t: predict_video_noise(unet, teacher, x, t, context),
            lambda x, t: predict_video_noise(unet, teacher, x, t, empty),
        )
        return distillation_loss(networks, x0, VIDEO_SOLVER)

    save(run / f"{stage}.pt", train(stage, run, motion, loss, budget))


def train_joint(run: Path, minutes: float = SHORT + 5) -> None:
    """What the paper argues against: the LoRA and the motion module, both on clips from the start.

    It has the time of an ablation and of the LoRA that the others start with.
    """
    base, pool, unet = load_base(run), load_pool(run), load_base(run)["unet"]
    lora, motion = Lora(unet), load_motion(run, "motion")
    student = nn.ModuleDict({"lora": lora, "motion": motion})
    teacher, target = freeze(load_motion(run, "motion")), _Target(student)
    budget = Budget(minutes, batch=2, learning_rate=5e-4)

    def loss(now: TrainingStep) -> Tensor:
        average = target.follow()
        x0, captions = pool.draw_clips(budget.local_batch, now.generator)
        context, empty = contexts(base, captions)
        online, goal = (Merged(unet, each.merged(unet, BETA)) for each in (lora, average["lora"]))
        networks = Networks(
            lambda x, t: predict_video_noise(online, motion, x, t, context),
            lambda x, t: predict_video_noise(goal, average["motion"], x, t, context),
            lambda x, t: predict_video_noise(unet, teacher, x, t, context),
            lambda x, t: predict_video_noise(unet, teacher, x, t, empty),
        )
        return distillation_loss(networks, x0, VIDEO_SOLVER)

    trained = train("lcm_video_joint", run, student, loss, budget)
    for part, stage in {"lora": "lcm_video_joint_lora", "motion": "lcm_video_joint"}.items():
        save(run / f"{stage}.pt", {k.removeprefix(f"{part}."): w for k, w in trained.items() if k.startswith(part)})


def train_image_encoder(run: Path, minutes: float = 25) -> None:
    """AnimateLCM-I2V's image encoder: consistency training without a teacher (the paper's stage 3); it alone trains.

    The picture is a clip's first frame. Our choice: motion_scale is the clip's speed while training, so that it means
    how fast things move; a clip that is held at its first frame has the scale 0. And the first part of the time goes to
    clips of one frame, which cost as little as stills and teach what a picture shows.
    """
    base, pool, lora = load_base(run), load_pool(run), load_lora(run)
    unet = Merged(base["unet"], {name: w.detach() for name, w in lora.merged(base["unet"], BETA).items()})
    motion, encoder = freeze(load_motion(run, "lcm_video")), build_image_encoder()
    target = _Target(encoder)
    budget = Budget(minutes, batch=4)

    def loss(now: TrainingStep) -> Tensor:
        average = target.follow()
        if now.spent < ON_ONE_FRAME:
            stills, captions = pool.draw_stills(STILLS_PER_CLIP * budget.local_batch, now.generator)
            x0, scale = stills[:, None], 1.2 * torch.rand(len(stills), generator=now.generator)
        else:
            x0, captions, speed = pool.draw_clips_with_speed(budget.local_batch, now.generator)
            x0, scale = _some_held(x0, speed, now.generator)
        context = contexts(base, captions)[0]

        def conditioned_by(encoder: ImageEncoder) -> Model:
            def model(x: Tensor, t: Tensor) -> Tensor:
                image_features = features(encoder, x0[:, 0], scale, frames=x0.shape[1])
                return predict_video_noise(unet, motion, x, t, context, image_features=image_features)

            return model

        return training_loss(conditioned_by(encoder), conditioned_by(average), x0, I2V, TO_DATA)

    save(run / "image_encoder.pt", encoder.state_dict() | train("image_encoder", run, encoder, loss, budget))


def train_layout(run: Path, minutes: float = 12) -> None:
    """A ControlNet for drawn boxes: noise prediction on stills, with the outline of the shape's box as the hint.

    It never meets the LoRA or a motion module, as the ControlNets of SD1.5 never did. As for the image model, half of
    the frames are noised with the motion module's betas.
    """
    base, pool = load_base(run), load_pool(run)
    controlnet = build_controlnet(base["unet"])
    budget = Budget(minutes, batch=32)

    def loss(now: TrainingStep) -> Tensor:
        x0, captions, places = pool.draw_stills_with_boxes(budget.local_batch, now.generator)
        x, timestep, epsilon, alpha_bar = noised_stills(x0)
        hint = outline(places, SIZE, SIZE, HINT_LINE)[:, None].expand(-1, 3, -1, -1)
        context = contexts(base, captions)[0]
        return denoising_loss(
            predict_controlled_noise(base["unet"], controlnet, x, timestep, context, hint), epsilon, alpha_bar
        )

    save(run / "layout.pt", train("layout", run, controlnet, loss, budget))


def noised_stills(x0: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noised latents, their timesteps, the noise, and alpha-bar: half of them with the motion betas."""
    timestep, epsilon = image_timesteps(len(x0)), torch.randn_like(x0)
    half = torch.rand(len(x0), 1, 1, 1) < 0.5
    alpha_bar = torch.where(half, alpha_bar_at(BASE, timestep, x0), alpha_bar_at(MOTION, timestep, x0))
    return add_noise(x0, epsilon, alpha_bar), timestep, epsilon, alpha_bar


def features(encoder: ImageEncoder, pictures: Tensor, scale: Tensor, frames: int = FRAMES) -> list[Tensor]:
    """What the frames of clips see of their pictures (N, 4, h, w), at a motion scale each, (N,)."""
    rows, frame = pictures.repeat_interleave(frames, dim=0), torch.arange(frames).repeat(len(pictures))
    return encoder(rows, frame, scale.repeat_interleave(frames)[:, None, None, None])


def _some_held(x0: Tensor, speed: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clips and their motion scales; a tenth of the clips is held at the first frame."""
    anything = 0.4 + 0.8 * torch.rand(len(x0), generator=generator)  # what stands still does so at any scale
    scale = torch.where(speed > 0, SCALE_OF_SPEED * speed, anything)
    held = torch.rand(len(x0), generator=generator) < 0.1
    return torch.where(held[:, None, None, None, None], x0[:, :1], x0), torch.where(held, 0.0, scale)


def train_personalized(run: Path, minutes: float = 12) -> None:
    """A personalized image model: all of it fine-tuned on stills of scenes at night, and on nothing else.

    It is the one that other people make: neither the LoRA nor a motion module ever meets it before it is used.
    """
    personalized, pool = load_base(run).requires_grad_(True), _stills_of("night", run)
    budget = Budget(minutes, batch=32, learning_rate=3e-4)

    def loss(now: TrainingStep) -> Tensor:
        x0, captions = pool.draw_stills(budget.local_batch, now.generator)
        x, timestep, epsilon, alpha_bar = noised_stills(x0)
        predicted = predict_noise(personalized["unet"], x, timestep, encode_text(personalized["text"], captions))
        return denoising_loss(predicted, epsilon, alpha_bar)

    save(run / "personalized.pt", personalized.state_dict() | train("personalized", run, personalized, loss, budget))


def train_style(run: Path, minutes: float = 7, *, style: str) -> None:
    """A style LoRA from stills alone: no clip in the style, and no consistency model, is ever seen.

    As for the image model, half of the frames are noised with the motion module's betas.
    """
    base, lora, pool = load_base(run), build_lora(f"style_{style}"), _stills_of(style, run)
    unet = base["unet"]
    budget = Budget(minutes, batch=64)

    def loss(now: TrainingStep) -> Tensor:
        x0, captions = pool.draw_stills(budget.local_batch, now.generator)
        x, timestep, epsilon, alpha_bar = noised_stills(x0)
        styled = Merged(unet, lora.merged(unet, 1.0))
        predicted = predict_noise(styled, x, timestep, contexts(base, captions)[0])
        return denoising_loss(predicted, epsilon, alpha_bar)

    save(run / f"style_{style}.pt", lora.state_dict() | train(f"style_{style}", run, lora, loss, budget))


def _stills_of(look: str, run: Path) -> Pool:
    """A few encoded clips whose frames are drawn as stills."""
    return fill_pool(load_autoencoder(run), STYLE_CLIPS, seed=2 + rank(), look=look)


def image_timesteps(count: int) -> Tensor:
    """Half of them evenly, half from where a circle becomes a square (our choice: shapes are learned last)."""
    return torch.cat([torch.randint(1000, (count // 2,)), torch.randint(200, 700, (count - count // 2,))])


def clip_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """Half of them evenly, half from where a clip's path is laid out (our choice): later, every frame shows it."""
    noisy = torch.rand(count, generator=generator) < 0.5
    return torch.where(
        noisy,
        torch.randint(400, 1000, (count,), generator=generator),
        torch.randint(1000, (count,), generator=generator),
    )


class _Target:
    """The network that a student is compared with: a moving average of it, twenty steps long."""

    def __init__(self, student: nn.Module) -> None:
        self.student = student
        self.average: Any = None

    def follow(self) -> Any:
        """The average after one more step. It begins at the first one, when an earlier run's weights are in place."""
        if self.average is None:
            self.average = copy.deepcopy(self.student)
        move_average(self.average.parameters(), self.student.parameters(), TARGET_EMA)
        return self.average


@torch.no_grad()
def contexts(base: nn.ModuleDict, captions: list[str]) -> tuple[Tensor, Tensor]:
    """The captions encoded, and as many empty ones."""
    context = encode_text(base["text"], captions)
    return context, encode_text(base["text"], [""]).expand_as(context)


train_short = partial(train_lcm_video, minutes=SHORT)
STAGES: dict[str, Callable[..., None]] = {
    "text": train_text,
    "vae": train_vae,
    "pool": encode_pool,
    "base": train_base,
    "motion": train_motion,
    "lcm_image": train_lcm_image,
    "lcm_video": train_lcm_video,
    "image_encoder": train_image_encoder,
    "layout": train_layout,
    "personalized": train_personalized,
    "lcm_video_short": partial(train_lcm_video, minutes=SHORT, stage="lcm_video_short"),
    "lcm_video_lora_in_target": partial(
        train_lcm_video, minutes=SHORT, stage="lcm_video_lora_in_target", lora_in_target=True
    ),
    "lcm_video_joint": train_joint,
    **{f"style_{style}": partial(train_style, style=style) for style in STYLES[1:]},
}
ONE_PROCESS = ("pool",)
