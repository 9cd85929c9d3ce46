"""The model hub and the download cache. The network is used only if the user allows it and a file is missing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.backbones.spec import file_hash
from diptych.core import DataError, NotAvailable

_TRUE = {"1", "true", "yes", "on"}


def is_offline(stated: bool | None = None) -> bool:
    """Return the given value, else that of HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE at this moment."""
    if stated is not None:
        return stated
    return any(os.environ.get(v, "").lower() in _TRUE for v in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def cache_folder() -> Path:
    """Return the hub's cache folder as HF_HUB_CACHE, HF_HOME or XDG_CACHE_HOME name it now."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    return Path(home).expanduser() / "hub"


def repository(name: str, patterns: Sequence[str], *, offline: bool, revision: str = "") -> Path:
    """Return the local folder of a hub repository, with the files that match.

    Args:
        name: "org/name".
        patterns: shell patterns of wanted files.
        offline: look in the cache only.
        revision: branch, tag or commit; "" for the main branch.

    Raises:
        NotAvailable: the repository is not in the cache, and may not or cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                name,
                revision=revision or None,
                cache_dir=cache_folder(),
                allow_patterns=list(patterns),
                local_files_only=offline,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        how = (
            "and this run is offline: fetch it once online"
            if offline
            else f"and could not be fetched ({type(error).__name__}): check the name and the network"
        )
        raise NotAvailable(f"The hub repository {name} is not in {cache_folder()} {how}.") from error


def published_weights(config: Mapping[str, Any], *, offline: bool) -> Path:
    """Return the local weight file of an open_clip tag, whose entry has "hf_hub" ("org/name/file" or "org/name/") and
    perhaps "url"; ``offline`` looks in the caches only.

    Raises:
        NotAvailable: the file is in none of the caches, and may not or cannot be fetched.
    """
    downloaded = _downloaded(config["url"]) if config.get("url") else None
    searched = []
    if config.get("hf_hub"):
        name, _, file = config["hf_hub"].rpartition("/")
        files = [file] if file else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
        if file.endswith((".bin", ".pth", ".pt")):
            files.insert(0, str(Path(file).with_suffix(".safetensors")))
        searched.append(f"{cache_folder()} ({name}: {', '.join(files)})")
        try:
            for wanted in files:  # one at a time: a second copy is another gigabyte
                path = repository(name, [wanted], offline=offline) / wanted
                if path.is_file():
                    return path
        except NotAvailable:
            if not offline and not (downloaded and downloaded.is_file()):
                raise
    if downloaded is not None:
        searched.append(str(downloaded))
        if downloaded.is_file():
            return _checked(downloaded, config["url"])
    raise NotAvailable(
        f"These weights are not on this machine (looked in {' and '.join(searched)}): fetch them once online."
    )


def _downloaded(url: str) -> Path:
    """Return the folders of OpenAI's and open_clip's downloads."""
    return Path("~/.cache/clip").expanduser() / url.rsplit("/", 1)[-1]


def _checked(path: Path, url: str) -> Path:
    """Compare a download with the hash in its address: OpenAI's folder name, or open_clip's last eight letters."""
    stem, folder = url.rsplit("/", 1)[-1].rsplit(".", 1)[0], url.split("/")[-2]
    expected = folder if "openaipublic" in url else stem.rsplit("-", 1)[-1] if "mlfoundations" in url else ""
    if not file_hash(path).startswith(expected):
        raise DataError(f"{path} is not the file that {url} names (its SHA-256 differs): delete it and fetch it again.")
    return path
