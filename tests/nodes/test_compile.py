"""The node that compiles: what it chooses, and what it says to the page."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from animatelcm.motion import attach_compile
from animatelcm.motion.regions import KEY
from animatelcm.nodes import compile as node
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP


def compiled(model: ModelPatcher, choice: str) -> Any:
    """The wrapper that the node puts on a model."""
    hidden = types.SimpleNamespace(unique_id="7")
    kind = type("Node", (node.AnimateLCMCompile,), {"hidden": hidden})
    made = kind.execute(model=model, compiled=choice)[0]
    (wrapper,) = made.wrappers[WrappersMP.APPLY_MODEL][KEY]
    return wrapper


@pytest.mark.parametrize(("choice", "kinds"), [(node.MOTION, ()), (node.ALL, attach_compile.LAYERS)])
def test_what_is_chosen_is_compiled(apply: Callable[..., ModelPatcher], choice: str, kinds: tuple[type, ...]) -> None:
    assert compiled(apply(), choice).kinds == kinds


def test_what_takes_long_is_said_on_the_node(
    apply: Callable[..., ModelPatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, str]] = []
    server = types.SimpleNamespace(send_progress_text=lambda text, node: said.append((text, node)))
    program = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=server))
    monkeypatch.setitem(sys.modules, "server", program)
    compiled(apply(), node.MOTION).regions.say("compiling graph 1 ...")
    assert said == [("compiling graph 1 ...", "7")]


def test_without_a_page_nothing_is_said(apply: Callable[..., ModelPatcher], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "server", raising=False)
    compiled(apply(), node.MOTION).regions.say("compiling graph 1 ...")
