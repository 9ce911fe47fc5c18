"""Make the pictures of the README, the help pages and the template browser from the mini family in a running ComfyUI.

`python dev.py pictures`, of use when the nodes or the family have changed. Films come from the shipped graphs. Pictures
of nodes need Chromium.
"""

import io
import itertools
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
pack = types.ModuleType("animatelcm")
pack.__path__ = [str(ROOT)]
sys.modules["animatelcm"] = pack

from animatelcm.comfyui_page import chromium, open_page, run_button  # noqa: E402 - needs the name above
from animatelcm.comfyui_server import Server, outputs  # noqa: E402 - likewise
from animatelcm.layout.draw import HINTS, hints  # noqa: E402 - likewise
from animatelcm.layout.parse import read_layout  # noqa: E402 - likewise
from animatelcm.layout.preview import preview  # noqa: E402 - likewise
from animatelcm.prompts.mixing import mixes  # noqa: E402 - likewise
from animatelcm.prompts.preview import COLOURS  # noqa: E402 - likewise
from animatelcm.prompts.preview import preview as schedule_preview  # noqa: E402 - likewise
from animatelcm.sampling.windows import WindowPlan, windows  # noqa: E402 - likewise
from animatelcm.video.colours import match_colours  # noqa: E402 - likewise

HELP = ROOT / "web" / "docs"
STYLE = "animatelcm_mini_synthetic_style_outlined.safetensors"
FRAMES = 16
GAP, LABEL, SIDE = 8, 88, 96  # pixels: between frames, for the words in front of a row, of a frame in it
ROOM, BADGE = 160, 24  # pixels: between the page's corner and the nodes, around them with what is written on top
PICTURE = "first_frame.png"
VIEW = {"width": 2000, "height": 1200}  # pixels: the page's own map and buttons are beside the nodes
PATIENCE = 2000  # milliseconds until the page has moved its own widgets, and shows the pictures of nodes
Film = list[Image.Image]
Graph = dict[str, Any]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), "--disable-api-nodes") as server:
        draw_films(server)
        with chromium() as browser, open_page(browser, server) as page:
            photograph_nodes(page)


# Films: what comes out


def draw_films(server: Server) -> None:
    for name in workflows():
        video = film(server, shipped(name))
        save(video[len(video) // 2].resize((384, 384), Image.Resampling.BICUBIC), ROOT / "workflows" / f"{name}.jpg")
        animate(video, ROOT / "docs" / f"{name}.gif", fps=12 if name == "long_video" else 8)
    video = film(server, changed())
    save(video[0], server.folder / "input" / PICTURE)
    save(side_by_side([small(frame) for frame in thinned(video, 8)]), HELP / "frames.png")
    counts = {f"{n} step{'s' * (n > 1)}": changed(AnimateLCMSampler={"steps": n}) for n in (1, 2, 4, 8)}
    save(rows({name: film(server, graph) for name, graph in counts.items()}), HELP / "steps.png")
    weights: dict[str, Graph] = {"all": {}, "alpha 0": {"alpha": 0}, "beta 0": {"beta": 0}, "gamma 0": {"gamma": 0}}
    styled = {name: changed(AnimateLCMApply=change | {"style_lora": STYLE}) for name, change in weights.items()}
    save(rows({name: film(server, graph) for name, graph in styled.items()}), HELP / "weights.png")
    draw_layout()
    draw_schedule()
    save(windows_over_time(), HELP / "long_clip.png")
    drifting = drifted(video)
    save(rows({"before": drifting, "after": recoloured(drifting)}), HELP / "colours.png")


def draw_layout() -> None:
    """What the layout nodes draw of the shipped layout."""
    layout = read_layout(text_of_layout())
    save(pictured(preview(layout, FRAMES, 256, 256))[0], HELP / "layout_preview.png")
    kinds = {kind: pictured(hints(layout, FRAMES, 2 * SIDE, 2 * SIDE, kind, 4)) for kind in HINTS}
    save(
        rows({kind: thinned(video, 3) for kind, video in kinds.items()}, count=3, label=130), HELP / "layout_hints.png"
    )


def draw_schedule() -> None:
    """What the prompt schedule shows of its own example."""
    prompts = {0: "a red circle moving right", 16: "a blue circle moving left"}
    save(pictured(schedule_preview(mixes(prompts, 2 * FRAMES, "linear")))[0], HELP / "prompt_schedule.png")


def windows_over_time() -> Image.Image:
    """The windows of 64 frames at the first four steps: a row of bars each, one above the other where they overlap."""
    plan, wide, tall = WindowPlan(), 8, 12  # pixels of a frame, of a bar
    sheet = Image.new("RGB", (LABEL + 4 * FRAMES * wide, 4 * 4 * tall), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    for step in range(4):
        top = step * 4 * tall
        pen.text((0, top + 1.5 * tall), f"step {step + 1}", "black", font, anchor="lm")
        for i, window in enumerate(windows(plan, 4 * FRAMES, step, 4)):
            fill = COLOURS[i % len(COLOURS)]
            for first, last in runs(window):
                y = top + (i % (4 if first == last else 2)) * tall * (0.75 if first == last else 1.1)
                box = [LABEL + first * wide + 1, y, LABEL + (last + 1) * wide - 2, y + 0.7 * tall]
                pen.rounded_rectangle(box, 3, fill=fill)
    return sheet


def runs(window: tuple[int, ...]) -> list[tuple[int, int]]:
    """The first and the last of each run of neighbouring frames."""
    breaks = [i for i in range(1, len(window)) if window[i] != window[i - 1] + 1]
    edges = [0, *breaks, len(window)]
    return [(window[start], window[end - 1]) for start, end in itertools.pairwise(edges)]


def text_of_layout() -> str:
    (node,) = (node for node in shipped("layout_to_video").values() if node["class_type"] == "AnimateLCMLayout")
    return str(node["inputs"]["text"])


def drifted(video: Film) -> Film:
    """The film, ever darker and paler."""
    away = Image.new("RGB", video[0].size, (60, 60, 60))
    return [Image.blend(frame, away, 0.6 * i / len(video)) for i, frame in enumerate(video)]


def recoloured(video: Film) -> Film:
    """The film in the colours of its first frame."""
    frames = torch.stack([torch.from_numpy(np.array(frame)) for frame in video]) / 255
    return pictured(match_colours(frames, frames[0]))


def pictured(frames: torch.Tensor) -> Film:
    return [Image.fromarray(frame.numpy()) for frame in (frames * 255).round().byte()]


def film(server: Server, graph: Graph) -> Film:
    """The frames of a graph's video."""
    (video,) = outputs(server.run(graph))
    with av.open(io.BytesIO(server.view(video))) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def changed(**changes: Graph) -> Graph:
    """The text-to-video graph, with inputs changed by the type of their node."""
    graph = shipped("text_to_video")
    for node in graph.values():
        node["inputs"].update(changes.get(node["class_type"], {}))
    return graph


def workflows() -> list[str]:
    return sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))


def shipped(name: str) -> Graph:
    graph: Graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    return graph


def thinned(video: Film, count: int) -> Film:
    """`count` frames, the first and the last among them."""
    return [video[round(i * (len(video) - 1) / (count - 1))] for i in range(count)]


def small(frame: Image.Image) -> Image.Image:
    return frame.resize((SIDE, SIDE), Image.Resampling.BOX)


def side_by_side(frames: Film) -> Image.Image:
    wide, tall = frames[0].size
    strip = Image.new("RGB", (len(frames) * (wide + GAP) - GAP, tall), "white")
    for i, frame in enumerate(frames):
        strip.paste(frame, (i * (wide + GAP), 0))
    return strip


def rows(films: dict[str, Film], count: int = 6, label: int = LABEL) -> Image.Image:
    """Some frames of each film in a row, with its name in front."""
    strips = {name: side_by_side([small(frame) for frame in thinned(video, count)]) for name, video in films.items()}
    wide, tall = next(iter(strips.values())).size
    sheet = Image.new("RGB", (label + wide, len(strips) * (tall + GAP) - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    for i, (name, strip) in enumerate(strips.items()):
        pen.text((0, i * (tall + GAP) + tall / 2), name, "black", font, anchor="lm")
        sheet.paste(strip, (label, i * (tall + GAP)))
    return sheet


# Nodes: how they are connected


def photograph_nodes(page: "Page") -> None:
    page.set_viewport_size(VIEW)
    workflow = json.loads((ROOT / "workflows" / "text_to_video.json").read_text())
    page.evaluate("async graph => { await window.app.loadGraphData(graph) }", workflow)
    photograph(page, HELP / "load.png", "CheckpointLoaderSimple", "AnimateLCMLoadMotionModule", "AnimateLCMApply")
    run_button(page).click()
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    page.evaluate("() => { document.querySelector('video').controls = false }")
    photograph(page, HELP / "save.png", "AnimateLCMSaveVideo")
    places = {"AnimateLCMSamplerSelect": (0, 0), "AnimateLCMSigmas": (0, 80), "SamplerCustom": (380, 0)}
    lay_out(page, custom_sampling(), places)
    photograph(page, HELP / "custom_sampling.png", *places)
    places = {"AnimateLCMApply": (0, 0), "LoadImage": (0, 300), "AnimateLCMImageToVideo": (420, 0)}
    places |= {"AnimateLCMSampler": (840, 0)}
    lay_out(page, image_to_video(), places)
    photograph(page, HELP / "image_to_video.png", *places)
    places = {"AnimateLCMLoadVideo": (0, 0), "VAEEncode": (380, 0), "AnimateLCMSampler": (680, 0)}
    lay_out(page, shipped("video_to_video"), places)
    photograph(page, HELP / "load_video.png", *places)
    places = {"AnimateLCMLoadMotionModule": (0, 0), "AnimateLCMMotionLora": (400, 0), "AnimateLCMApply": (800, 0)}
    lay_out(page, motion_lora(), places)
    photograph(page, HELP / "motion_lora.png", *places)
    places = {"AnimateLCMSampler": (0, 0), "CheckpointLoaderSimple": (0, 300), "AnimateLCMDecodeToVideo": (380, 0)}
    lay_out(page, decode_to_video(), places)
    photograph(page, HELP / "decode_to_video.png", *places)
    places = {"AnimateLCMApply": (0, 0), "AnimateLCMCompile": (420, 0), "AnimateLCMSampler": (800, 0)}
    lay_out(page, compiled(), places)
    photograph(page, HELP / "compile.png", *places)
    photograph_layouts(page)


def photograph_layouts(page: "Page") -> None:
    places = {"AnimateLCMLayout": (0, 0), "AnimateLCMLayoutHints": (540, 0), "ControlNetLoader": (540, 240)}
    places |= {"ControlNetApplyAdvanced": (880, 0)}
    lay_out(page, shipped("layout_to_video"), places)
    photograph(page, HELP / "layout.png", *places)
    places = {"AnimateLCMLayout": (0, 0), "AnimateLCMLayoutBox": (540, 0), "AnimateLCMLayoutPreview": (1000, 0)}
    lay_out(page, two_boxes(), places)
    run_button(page).click()
    page.wait_for_timeout(PATIENCE)
    photograph(page, HELP / "layout_box.png", *places)
    places = {"AnimateLCMLayout": (0, 0), "CLIPTextEncode": (540, 300), "AnimateLCMLayoutConditioning": (1000, 0)}
    places |= {"AnimateLCMSampler": (1400, 0)}
    lay_out(page, regional_prompts(), places)
    photograph(page, HELP / "layout_conditioning.png", *places)


def two_boxes() -> Graph:
    """The shipped layout, and a box beside it."""
    still = {"layout": ["1", 0], "name": "moon", "frame": 0, "x": 0.05, "y": 0.05, "width": 0.2, "height": 0.2}
    shown = {"layout": ["2", 0], "width": 512, "height": 512, "frames": FRAMES}
    return {
        "1": {"class_type": "AnimateLCMLayout", "inputs": {"text": text_of_layout()}},
        "2": {"class_type": "AnimateLCMLayoutBox", "inputs": still},
        "3": {"class_type": "AnimateLCMLayoutPreview", "inputs": shown},
    }


def regional_prompts() -> Graph:
    """The shipped graph with a prompt for the box in place of the ControlNet."""
    graph = changed(AnimateLCMSampler={"positive": ["11", 0]})
    told = {
        "clip": ["3", 1],
        "conditioning": ["4", 0],
        "layout": ["10", 0],
        "width": 64,
        "height": 64,
        "frames": FRAMES,
    }
    return graph | {
        "10": {"class_type": "AnimateLCMLayout", "inputs": {"text": text_of_layout()}},
        "11": {"class_type": "AnimateLCMLayoutConditioning", "inputs": told},
    }


def custom_sampling() -> Graph:
    """The shipped graph with ComfyUI's SamplerCustom in place of our sampler."""
    graph = changed()
    model = graph["6"]["inputs"]["model"]
    custom = {"model": model, "sampler": ["10", 0], "sigmas": ["11", 0], "cfg": 1.0}
    return graph | {
        "6": {"class_type": "SamplerCustom", "inputs": custom},
        "10": {"class_type": "AnimateLCMSamplerSelect", "inputs": {}},
        "11": {"class_type": "AnimateLCMSigmas", "inputs": {"model": model}},
    }


def motion_lora() -> Graph:
    """The shipped graph with a motion LoRA on the motion module."""
    graph = changed(
        AnimateLCMLoadMotionModule={"motion_module": "AnimateLCM_sd15_t2v.ckpt"},
        AnimateLCMApply={"motion_module": ["10", 0]},
    )
    (loader,) = (number for number, node in graph.items() if node["class_type"] == "AnimateLCMLoadMotionModule")
    told = {"motion_module": [loader, 0], "lora": "v2_lora_ZoomIn.ckpt", "strength": 0.5}
    return graph | {"10": {"class_type": "AnimateLCMMotionLora", "inputs": told}}


def decode_to_video() -> Graph:
    """The shipped graph with one node in place of all that comes after the sampler."""
    graph = {number: node for number, node in changed().items() if int(number) < 7}
    told = {"latent": ["6", 0], "vae": ["1", 2]}
    return graph | {"10": {"class_type": "AnimateLCMDecodeToVideo", "inputs": told}}


def compiled() -> Graph:
    """The shipped graph with a compiled model."""
    graph = changed(AnimateLCMSampler={"model": ["10", 0]})
    told = {"model": ["3", 0], "compiled": "motion module"}
    return graph | {"10": {"class_type": "AnimateLCMCompile", "inputs": told}}


def image_to_video() -> Graph:
    """The shipped graph with a picture to start from."""
    graph = changed(AnimateLCMSampler={"model": ["11", 0], "latent": ["11", 1]})
    told = {"model": ["3", 0], "vae": ["1", 2], "image": ["10", 0]}
    return graph | {
        "10": {"class_type": "LoadImage", "inputs": {"image": PICTURE}},
        "11": {"class_type": "AnimateLCMImageToVideo", "inputs": told},
    }


def lay_out(page: "Page", graph: Graph, places: dict[str, tuple[int, int]]) -> None:
    """Open an API graph, and keep the types of nodes that have a place."""
    page.evaluate(
        """async ([graph, places]) => {
            window.app.nodeOutputs = {} // pictures of an earlier graph's nodes
            await window.app.loadApiJson(graph, "help")
            for (const node of [...window.app.graph.nodes]) {
                if (node.type in places) node.pos = places[node.type]
                else window.app.graph.remove(node)
            }
        }""",
        [graph, places],
    )
    page.wait_for_timeout(PATIENCE)


def photograph(page: "Page", path: Path, *kinds: str) -> None:
    """Save a picture of the nodes of some types, and of little around them."""
    left, top, wide, tall = page.evaluate(
        """kinds => {
            const shown = window.app.graph.nodes.filter(node => kinds.includes(node.type))
            const boxes = shown.map(node => node.boundingRect)
            const [left, top] = [0, 1].map(i => Math.min(...boxes.map(box => box[i])))
            const [right, bottom] = [0, 1].map(i => Math.max(...boxes.map(box => box[i] + box[i + 2])))
            return [left, top, right - left, bottom - top]
        }""",
        kinds,
    )
    corner = page.evaluate(
        """([x, y]) => {
            const canvas = window.app.canvas
            canvas.deselectAll()
            canvas.ds.scale = 1
            canvas.ds.offset = [x, y]
            canvas.draw(true, true)
            return canvas.canvas.getBoundingClientRect().toJSON()
        }""",
        [ROOM - left, ROOM - top],
    )
    page.wait_for_timeout(PATIENCE)
    x, y = corner["x"] + ROOM - BADGE, corner["y"] + ROOM - BADGE
    page.screenshot(path=path, clip={"x": x, "y": y, "width": wide + 2 * BADGE, "height": tall + 2 * BADGE})


def animate(video: Film, path: Path, fps: int) -> None:
    """Save a film as a small GIF that plays on and on."""
    frames = [frame.resize((160, 160), Image.Resampling.BICUBIC).quantize(32) for frame in video]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=1000 // fps, loop=0, optimize=True)


def save(picture: Image.Image, path: Path) -> None:
    part = path.with_name(f"part-{path.name}")
    picture.save(part, optimize=True, quality=88)
    part.replace(path)


if __name__ == "__main__":
    main()
