"""What video to video keeps and what it changes: direction and style of clips that the mini family restyles.

The clips are rendered, the prompts say everything but where the shape moves, the LoRA draws outlines. Beside the
restyled clips: the clips as they are, and videos made from the same prompts alone.

    python dev.py benchmark restyling
"""

import argparse
import tempfile
from pathlib import Path

import torch
from _mini import change, from_text, run, shipped
from _pack import import_pack
from torch import Tensor
from tqdm import tqdm

import_pack()

from animatelcm.comfyui_server import Server  # noqa: E402 - needs the name above
from animatelcm.distill.mini import scenes  # noqa: E402 - likewise
from animatelcm.distill.mini.evaluation.metrics import measure  # noqa: E402 - likewise
from animatelcm.distill.mini.evaluation.styles import styled  # noqa: E402 - likewise
from animatelcm.video.write import VideoSettings, write_video  # noqa: E402 - likewise

STYLE = "outlined"
LORA = f"animatelcm_mini_synthetic_style_{STYLE}.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--denoise", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    arguments = parser.parse_args()
    asked = moving(arguments.clips)
    clips = scenes.render(asked, torch.arange(scenes.FRAMES, dtype=torch.float32))
    print("| | colour | shape | direction | styled |\n| --- | --- | --- | --- | --- |")
    print(row("the clips as they are", clips, asked), flush=True)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), "--disable-api-nodes") as server:
        for denoise in arguments.denoise:
            made = [restyled(server, clips[i], prompt(asked, i), denoise) for i in tqdm(range(len(asked)), leave=False)]
            print(row(f"restyled, denoise {denoise:g}", torch.stack(made), asked), flush=True)
        made = [from_text(server, prompt(asked, i), style_lora=LORA) for i in tqdm(range(len(asked)), leave=False)]
        print(row("from the prompt alone", torch.stack(made), asked))


def moving(count: int) -> scenes.Scenes:
    """Scenes in which something moves, on backgrounds that a bright outline is seen on."""
    drawn = scenes.draw_scenes(4 * count, seed=11)
    dark = drawn.background != scenes.BACKGROUNDS.index("white")
    return drawn[(drawn.movement < len(scenes.DIRECTIONS)) & dark][:count]


def prompt(asked: scenes.Scenes, index: int) -> str:
    words = scenes.caption(asked, index)
    return words.replace(f" moving {scenes.MOVEMENTS[asked.movement[index]]}", "")


# Through the nodes


def restyled(server: Server, clip: Tensor, words: str, denoise: float) -> Tensor:
    write_video(server.folder / "input" / "clip.mp4", clip.movedim(1, -1), VideoSettings(quality=100))
    graph = shipped("video_to_video")
    change(graph, "AnimateLCMLoadVideo", video="clip.mp4")
    change(graph, "AnimateLCMSampler", denoise=denoise)
    change(graph, "CLIPTextEncode", text=words)
    return run(server, graph)


# In pixels


def row(name: str, clips: Tensor, asked: scenes.Scenes) -> str:
    seen = measure(clips)
    matches = [getattr(seen, kind) == getattr(asked, kind) for kind in ("colour", "shape", "movement")]
    matches.append(styled(clips, STYLE))
    return f"| {name} | {' | '.join(f'{100 * match.float().mean():.1f}' for match in matches)} |"


if __name__ == "__main__":
    main()
