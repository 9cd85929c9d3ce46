"""What is given as weights and is none is named by what it is, with what to do; weights pass."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from diptych.backbones.file_kinds import check_weight_file
from diptych.backbones.generators.files import generator_tensors
from diptych.backbones.sources.load import load
from diptych.backbones.weights import read_nested, read_state
from diptych.core import DataError, Run, UsageError
from diptych.tasks.released import convert

PAGE = b"<!DOCTYPE html>\n<html><head><title>Virus scan warning</title></head></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
STATE = {"a": torch.arange(6.0).reshape(2, 3)}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PAGE, "a web page, not weights, .*: open the link in a browser, and download the file itself"),
        (b"\xef\xbb\xbf\n  <HTML lang=en>sign in</HTML>", "a web page"),
        (b"<!-- a\nb --><html></html>", "a web page"),
        (POINTER, "a git-lfs pointer, not the weights: run 'git lfs pull'"),
        (b"", "empty: download it again"),
        (b'{"error": "Not found"}', "the answer of a server in XML or JSON"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "the answer of a server"),
        (b"Entry not found", "text, not weights"),
        (gzip.compress(b"a", mtime=0), "a gzip archive, not weights: unpack it"),
    ],
)
def test_what_is_no_weight_file_is_named(tmp_path: Path, suffix: str, content: bytes, said: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    for read in (read_state, lambda file: read_nested(file, "leave it."), generator_tensors):
        with pytest.raises(DataError, match=rf"weights\{suffix} is {said}.*\.$"):
            read(path)
    with pytest.raises(DataError, match=said):  # before a backbone is asked for
        convert("coop", path, tmp_path / "out", Run(), released="coop")
    assert not (tmp_path / "out").exists()


def test_a_page_by_the_name_of_a_pickle_gets_no_command_that_runs_it(tmp_path: Path) -> None:
    (tmp_path / "ffhq.pkl").write_bytes(PAGE)
    with pytest.raises(DataError, match="a web page"):
        generator_tensors(tmp_path / "ffhq.pkl")


def test_an_archive_of_weights_and_a_folder_are_named(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.write(tmp_path / "a.pt", "a.pt")
    with pytest.raises(DataError, match=r"zip\.pt is a zip archive that holds a\.pt, not weights: unpack it"):
        read_state(tmp_path / "zip.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(UsageError, match=r"folder\.pt is a folder, not a weight file: give the file in it"):
        read_state(tmp_path / "folder.pt")


def test_the_other_format_is_to_be_renamed(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match=r"a torch file, not safetensors: rename it to end in \.pt"):
        read_state(tmp_path / "a.safetensors")
    save_file(STATE, tmp_path / "b.pt")
    with pytest.raises(DataError, match=r"a safetensors file by another name: rename it to end in \.safetensors"):
        read_state(tmp_path / "b.pt")


@pytest.mark.parametrize("archive", [True, False])
def test_weights_pass(tmp_path: Path, archive: bool) -> None:
    torch.save(STATE, tmp_path / "a.pt", _use_new_zipfile_serialization=archive)
    save_file(STATE, tmp_path / "a.safetensors")
    for name in ("a.pt", "a.safetensors"):
        check_weight_file(tmp_path / name)
        assert torch.equal(read_state(tmp_path / name)["a"], STATE["a"])


def test_a_wrong_header_is_damage_and_arrays_keep_their_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 2**31) + save(STATE)[8:])
    with pytest.raises(DataError, match=r"a\.safetensors is damaged .*: download it again"):
        read_state(tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", a=np.ones(2))
    with pytest.raises(UsageError, match="holds big_vision arrays"):
        read_state(tmp_path / "a.npz")


def test_a_checkout_without_its_large_files_is_said_to_be_one(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
    for name, config in (("hub", "config.json"), ("open_clip", "open_clip_config.json")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / config).write_text("{}")
        for file in ("model.safetensors", "tokenizer.json"):
            (folder / file).write_bytes(pointer)
        with pytest.raises(
            DataError, match=rf"{name} has git-lfs pointers in the place of model.safetensors, tokenizer"
        ):
            load(f"local:{folder}")
