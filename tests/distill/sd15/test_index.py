"""What there is to train on, found once by all processes together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from animatelcm.distill.sd15.index import LONGEST_CAPTION, DataError, find_entries

from .conftest import pack_shard

ROOT = Path(__file__).resolve().parents[3]


def test_what_has_no_caption_is_no_entry(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.mp4").write_bytes((clips / "a.mp4").read_bytes())
    with pytest.raises(DataError, match="nothing to train on.*caption beside each"):
        find_entries([str(tmp_path)])


def test_a_pattern_names_several(clips: Path) -> None:
    entries = find_entries([f"{clips}/[ab].*"]).entries
    assert [Path(entry.name).stem for entry in entries] == ["a", "b"]


def test_a_file_that_two_sources_name_is_one(clips: Path) -> None:
    assert find_entries([str(clips), f"{clips}/a.*"]) == find_entries([str(clips)])


def test_a_shard_that_is_cut_off_is_named_and_what_is_whole_in_it_is_used(shard: Path, tmp_path: Path) -> None:
    content = shard.read_bytes()
    where = content.rindex(b"d.txt")  # the last member but two
    (tmp_path / "cut.tar").write_bytes(content[: where + 100])
    index = find_entries([str(tmp_path)])
    assert [Path(entry.name).name for entry in index.entries] == ["a.mp4", "b.mp4", "c.mp4"]
    assert "7 files were found" in index.broken[str(tmp_path / "cut.tar")]


def test_a_member_that_a_shard_has_only_the_beginning_of_is_left_out(shard: Path, tmp_path: Path) -> None:
    content = shard.read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: content.rindex(b"e.mp4") + 512 + 100])
    assert [entry.name[-5:] for entry in find_entries([str(tmp_path)]).entries] == [f"{name}.mp4" for name in "abcd"]


def test_what_is_no_shard_is_named(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "page.tar").write_bytes(b"<html>" * 1000)
    index = find_entries([str(clips), str(tmp_path)])
    assert len(index.entries) == 5
    assert index.broken.keys() == {str(tmp_path / "page.tar")}
    with pytest.raises(DataError, match=r"page\.tar cannot be read: "):
        find_entries([str(tmp_path)])


def test_a_caption_that_is_none_is_refused(tmp_path: Path) -> None:
    for name, content in {"long": b"a" * (LONGEST_CAPTION + 1), "picture": b"\x89PNG\xff", "good": b" a dog\n"}.items():
        (tmp_path / f"{name}.png").touch()
        (tmp_path / f"{name}.txt").write_bytes(content)
    good, long, picture = find_entries([str(tmp_path)]).entries
    assert good.read_caption() == "a dog"
    with pytest.raises(ValueError, match="more than 65536 bytes"):
        long.read_caption()
    with pytest.raises(ValueError, match="utf-8"):
        picture.read_caption()


COUNTING = """
import json, sys, tarfile, types
sys.modules["animatelcm"] = types.ModuleType("animatelcm")
sys.modules["animatelcm"].__path__ = [sys.argv[1]]
opened, tar = [], tarfile.open
tarfile.open = lambda path, *rest: opened.append(path.name) or tar(path, *rest)
from animatelcm.distill.sd15.index import DataError, find_entries
from accelerate import PartialState
state = PartialState(cpu=True)
names = [entry.name for entry in find_entries([f"{sys.argv[2]}/*.tar"]).entries]
try:
    find_entries([f"{sys.argv[2]}/nothing"])
    failed = False
except DataError:
    failed = True
with open(f"{sys.argv[2]}/{state.process_index}.json", "w") as file:
    json.dump([opened, names, failed], file)
"""


def test_each_shard_is_opened_by_one_process_and_known_to_all(clips: Path, tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        pack_shard(tmp_path / f"{number}.tar", sorted(clips.glob(f"{name}.*")))
    (tmp_path / "count.py").write_text(COUNTING)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(tmp_path / "count.py")]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, str(ROOT), str(tmp_path)], check=True, timeout=300, env=environment)
    said = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert sorted(said[0][0] + said[1][0]) == ["0.tar", "1.tar", "2.tar"]
    assert said[0][1] == said[1][1] == [f"{tmp_path}/{n}.tar/{name}.mp4" for n, name in enumerate("abc")]
    assert said[0][2] and said[1][2]
