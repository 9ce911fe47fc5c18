"""What a program sees that POSTs graphs to /prompt."""

import copy
import io
import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from animatelcm.comfyui_server import Refused, Server, nodes_of, outputs, prompt_of
from animatelcm.distill.mini.evaluation.metrics import covered, measure
from animatelcm.distill.mini.scenes import COLOURS, MOVEMENTS, SHAPES, SIZE
from animatelcm.layout.parse import read_layout
from animatelcm.prompts.parse import at_frames, read_prompts
from animatelcm.video.sound import Sound
from animatelcm.video.write import VideoSettings, write_video

Graph = dict[str, Any]
GRAPHS = sorted((Path(__file__).resolve().parents[2] / "workflows" / "api").glob("*.json"))
PHOTOGRAPHS = Path(__file__).resolve().parents[1] / "data"
seeds = itertools.count(1000)  # a graph that ran before is answered from ComfyUI's cache


def inputs_of(graph: Graph, class_type: str) -> dict[str, Any]:
    (inputs,) = nodes_of(graph, class_type)
    return inputs


def long(graph: Graph) -> Graph:
    """Make `graph` sample for many seconds, in steps that take longer than a request."""
    inputs_of(graph, "AnimateLCMEmptyLatent").update(width=128, height=128)
    inputs_of(graph, "AnimateLCMSampler").update(steps=100, seed=next(seeds))
    return graph


def frames(video: bytes) -> np.ndarray:
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def metadata(video: bytes) -> dict[str, Any]:
    with av.open(io.BytesIO(video)) as container:
        return {name: json.loads(container.metadata[name]) for name in ("prompt", "workflow")}


def small(video: np.ndarray) -> torch.Tensor:
    """The video as the family makes it, (F, 3, 64, 64) in 0..1."""
    return F.interpolate(torch.from_numpy(video).movedim(-1, 1) / 255, size=SIZE, mode="area")


def shown(video: np.ndarray) -> tuple[str, str]:
    """What the pixels show and how it moves, in a prompt's words."""
    seen = measure(small(video)[None])
    assert seen.one_blob
    movement = f"moving {MOVEMENTS[seen.movement]}" if seen.coherent else "moving on no straight line"
    return f"{COLOURS[seen.colour]} {SHAPES[seen.shape]}", movement


def facing(frame: torch.Tensor) -> str:
    """Where the bright side of what a frame, (3, H, W), shows is: the family's shapes have it where they go."""
    cover = covered(frame[None])
    bright = cover * (frame.amin(0) > 0.75)
    x, y = (centre_of_mass(bright) - centre_of_mass(cover))[0].tolist()
    return MOVEMENTS[round(math.atan2(-y, x) / (math.pi / 4)) % 8]


def centre_of_mass(cover: torch.Tensor) -> torch.Tensor:
    """x and y in pixels, (F, 2), of (F, H, W)."""
    place = torch.arange(SIZE) + 0.5
    x, y = ((cover.sum(dim) * place).sum(1) for dim in (1, 2))
    return torch.stack((x, y), dim=1) / cover.sum((1, 2))[:, None]


def run_for_frames(server: Server, graph: Graph) -> np.ndarray:
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    (video,) = outputs(entry)
    return frames(server.view(video))


def test_every_node_is_registered(server: Server) -> None:
    known = server.get("/object_info")
    names = ("LoadMotionModule", "Apply", "EmptyLatent", "Sampler", "Sigmas", "SamplerSelect", "SaveVideo")
    names += ("ImageToVideo", "LoadVideo", "MatchColors")
    names += ("Layout", "LayoutBox", "LayoutPreview", "LayoutHints", "LayoutConditioning")
    names += ("PromptSchedule", "LongClip")
    assert {f"AnimateLCM{name}" for name in names} <= known.keys()


@pytest.mark.parametrize("path", [path for path in GRAPHS if path.stem != "long_video"], ids=lambda path: path.stem)
def test_a_shipped_graph_makes_the_video_that_its_prompt_asks_for(server: Server, path: Path) -> None:
    graph = json.loads(path.read_text())
    video = run_for_frames(server, graph)
    assert video.shape == (16, 256, 256, 3)
    prompt, (what, movement) = prompt_of(graph)["text"], shown(video)
    assert what in prompt
    assert movement in prompt or "moving" not in prompt


def test_the_shipped_long_video_shows_what_each_of_its_prompts_asks_for_and_closes(server: Server) -> None:
    (path,) = [path for path in GRAPHS if path.stem == "long_video"]
    graph = json.loads(path.read_text())
    clip = small(run_for_frames(server, graph))
    inputs = inputs_of(graph, "AnimateLCMPromptSchedule")
    assert len(clip) == inputs["frames"]
    seen = measure(clip[None])
    assert seen.one_blob
    assert f"{COLOURS[seen.colour]} {SHAPES[seen.shape]}" in inputs["before"]
    for frame, prompt in at_frames(read_prompts(inputs["text"]), len(clip)).items():
        assert f"moving {facing(clip[frame % len(clip)])}" == prompt
    places = centre_of_mass(covered(clip))
    steps = (places[1:] - places[:-1]).norm(dim=1)
    assert (places[0] - places[-1]).norm() <= steps.quantile(0.95)


def test_the_shipped_layout_is_followed(server: Server) -> None:
    (path,) = [path for path in GRAPHS if path.stem == "layout_to_video"]
    graph = json.loads(path.read_text())
    clip = small(run_for_frames(server, graph))
    box = read_layout(inputs_of(graph, "AnimateLCMLayout")["text"]).rectangles(len(clip))[0]
    centre = (box[:, :2] + box[:, 2:]) / 2 * SIZE
    assert (centre_of_mass(covered(clip)) - centre).norm(dim=1).max() < 6  # pixels of 64
    assert (centre[0] - centre[8]).norm() > 20


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (64, 128)])
@pytest.mark.parametrize("name", ["fox.jpg", "dog.jpg"])
def test_a_photograph_goes_through_image_to_video(server: Server, name: str, width: int, height: int) -> None:
    (path,) = [path for path in GRAPHS if path.stem == "image_to_video"]
    graph = json.loads(path.read_text())
    (loader,) = [node for node in graph.values() if node["class_type"] == "AnimateLCMLoadVideo"]
    loader.update(class_type="LoadImage", inputs={"image": name})
    shutil.copy(PHOTOGRAPHS / name, server.folder / "input")
    inputs_of(graph, "AnimateLCMImageToVideo").update(width=width, height=height)
    video = run_for_frames(server, graph)
    assert video.shape == (16, 4 * height, 4 * width, 3)
    assert video.std() > 10


def test_the_saved_file_holds_prompt_and_workflow(server: Server, graph: Graph) -> None:
    workflow = {"nodes": [], "extra": {"note": "αβγ; 'quoted' \"twice\" = \\ #\n"}}
    inputs_of(graph, "AnimateLCMSampler")["seed"] = next(seeds)
    (video,) = outputs(server.run(graph, extra_data={"extra_pnginfo": {"workflow": workflow}}))
    saved = metadata(server.view(video))
    assert saved["workflow"] == workflow
    assert {id: node["inputs"] for id, node in saved["prompt"].items()} == {id: graph[id]["inputs"] for id in graph}


def test_a_clip_comes_back_with_its_sound_in_sync_to_a_frame(server: Server) -> None:
    fps, rate, frame = 8.0, 48000, 9
    waveform = torch.zeros(1, 2 * rate)
    waveform[:, round(frame / fps * rate) :] = 0.5 * torch.sin(torch.arange(2 * rate - round(frame / fps * rate)) / 8)
    lit = torch.zeros(16, 64, 64, 3)
    lit[frame:] = 0.9
    write_video(server.folder / "input" / "bang.mp4", lit, VideoSettings(fps, sound=Sound(waveform, rate)))
    load = {"video": "bang.mp4", "start": 0.5, "frames": 16, "every_nth": 1, "width": 64, "height": 64}
    save = {"images": ["1", 0], "fps": ["1", 1], "audio": ["1", 2], "filename_prefix": "bang"}
    save |= {"format": "MP4 (H.264)", "quality": 80, "ping_pong": False}
    graph = {
        "1": {"class_type": "AnimateLCMLoadVideo", "inputs": load},
        "2": {"class_type": "AnimateLCMSaveVideo", "inputs": save},
    }
    (video,) = outputs(server.run(graph))
    with av.open(io.BytesIO(server.view(video))) as container:
        loud = np.concatenate([part.to_ndarray().mean(0) for part in container.decode(audio=0)])
    seen = int((frames(server.view(video)).mean((1, 2, 3)) > 128).argmax())
    heard = (np.abs(loud) > 0.1).argmax() / rate
    assert seen == frame - round(0.5 * fps)
    assert abs(heard - seen / fps) < 1 / fps


@pytest.mark.parametrize(
    ("node", "wrong", "explanation"),
    [
        ("AnimateLCMLoadMotionModule", {"motion_module": "nothing.ckpt"}, "There is no file 'nothing.ckpt'"),
        ("AnimateLCMApply", {"style_lora": "nothing.safetensors"}, "There is no file 'nothing.safetensors'"),
        ("AnimateLCMSaveVideo", {"format": "AVI"}, "is the text 'AVI'. Expected one of: MP4"),
    ],
)
def test_a_wrong_input_is_refused_with_our_message(
    server: Server, graph: Graph, node: str, wrong: dict[str, str], explanation: str
) -> None:
    inputs_of(graph, node).update(wrong)
    with pytest.raises(Refused, match=explanation) as refused:
        server.queue(graph)
    assert refused.value.status == 400
    assert refused.value.answer["error"]["type"] == "prompt_outputs_failed_validation"
    (errors,) = refused.value.answer["node_errors"].values()
    assert errors["class_type"] == node
    assert [error["extra_info"]["input_name"] for error in errors["errors"]] == list(wrong)


@pytest.mark.parametrize("wrong", [{"acceleration_lora": "nothing.safetensors"}, {"schedule": "karras"}])
def test_a_wrong_choice_is_said_once_under_its_name(server: Server, graph: Graph, wrong: dict[str, str]) -> None:
    """Before the run where ComfyUI checks choices itself, else when 'Apply AnimateLCM' is run."""
    inputs_of(graph, "AnimateLCMApply").update(wrong)
    ((name, value),) = wrong.items()
    try:
        messages = dict(server.run(graph)["status"]["messages"])
    except Refused as refused:
        (errors,) = refused.answer["node_errors"].values()
        assert [error["extra_info"]["input_name"] for error in errors["errors"]] == [name]
    else:
        assert messages["execution_error"]["node_type"] == "AnimateLCMApply"
        assert f"'{value}'" in messages["execution_error"]["exception_message"]


@pytest.mark.parametrize("node", ["AnimateLCMLoadMotionModule", "AnimateLCMApply", "AnimateLCMSaveVideo"])
def test_a_missing_input_is_named(server: Server, graph: Graph, node: str) -> None:
    for name in inputs_of(graph, node).keys() - {"clip", "motion_scale", "group_norm"}:  # which are optional
        without = copy.deepcopy(graph)
        del inputs_of(without, node)[name]
        with pytest.raises(Refused) as refused:
            server.queue(without)
        ((error,),) = (answer["errors"] for answer in refused.value.answer["node_errors"].values())
        assert error["type"] == "required_input_missing"
        assert error["extra_info"]["input_name"] == name


def test_an_unfit_frame_count_is_explained_before_sampling(server: Server, graph: Graph) -> None:
    inputs_of(graph, "AnimateLCMEmptyLatent")["frames"] = 1
    events = []
    entry = server.run(graph, lambda kind, data: events.append((kind, data)))
    kind, data = events[-1]
    assert entry["status"]["status_str"] == kind.replace("execution_", "") == "error"
    assert data["node_type"] == "AnimateLCMSampler"
    assert "1 frame" in data["exception_message"]
    assert "progress" not in dict(events)


def test_a_second_prompt_waits_for_the_first(server: Server, graph: Graph, shipped_graph: Graph) -> None:
    queued = []

    def queue_another(kind: str, data: dict[str, Any]) -> None:
        if kind == "progress" and not queued:
            queued.append(server.queue(shipped_graph))
            queue = server.get("/queue")
            assert [len(queue["queue_running"]), len(queue["queue_pending"])] == [1, 1]

    inputs_of(graph, "AnimateLCMSampler").update(steps=20, seed=next(seeds))
    assert server.run(graph, queue_another)["status"]["status_str"] == "success"
    assert server.wait_for_history(queued[0])["status"]["status_str"] == "success"


def test_an_interrupt_stops_within_one_unet_call_and_the_next_prompt_is_right(server: Server, graph: Graph) -> None:
    inputs_of(graph, "AnimateLCMSampler")["seed"] = next(seeds)
    undisturbed = run_for_frames(server, graph)
    server.post("/free", {"free_memory": True, "unload_models": True})  # so that nothing comes from the cache below
    steps = []

    def interrupt(kind: str, data: dict[str, Any]) -> None:
        if kind == "progress":
            steps.append(data["value"])
            if len(steps) == 2:
                server.post("/interrupt", {})

    entry = server.run(long(copy.deepcopy(graph)), interrupt)
    assert "execution_interrupted" in dict(entry["status"]["messages"])
    assert steps[-1] <= steps[1] + 1
    np.testing.assert_array_equal(run_for_frames(server, graph), undisturbed)
