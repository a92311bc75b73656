"""Refusing an exported program that could run code when it is loaded.

`torch.export.load` has no safe mode: it unpickles constants, loads shared libraries of AOTInductor packages, and evaluates strings of the
graph (sympy expressions, guards, names that end in generated Python). So before torch sees a ``.pt2`` file, this module checks that it
holds nothing beyond what `torch.export.save` writes for a plain network of tensors: an allow-list of entries, and of everything inside the
graph (see `scan_graph`).
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Final

from torch.serialization import get_unsafe_globals_in_checkpoint

from imagejob_runner.exceptions import ModelError
from imagejob_runner.models.scan_graph import GraphRefusedError, check_graph

_MODEL: Final = "models/model.json"

_ENTRIES: Final = re.compile(
    r"""
    archive_format | archive_version | byteorder | version | \.data/version | \.data/serialization_id
    | models/model\.json
    | data/weights/(weight_\d+ | model_weights_config\.json)
    | data/constants/(tensor_\d+ | model_constants_config\.json)
    | data/sample_inputs/model\.pt
    | extra/[\w-]+(\.(txt|json|ya?ml))?
    """,
    re.VERBOSE,
)
"""Everything that torch.export.save of torch 2.8 to 2.15 writes for a network whose constants are tensors."""

_REASONS: Final = (
    (re.compile(r"\.(so|dll|dylib|o|cubin|ptx|cpp|cu)$"), "compiled or source code"),
    (re.compile(r"^data/aotinductor/"), "an AOTInductor package, which is a shared library"),
    (re.compile(r"custom_obj_|opaque_obj_"), "a custom object, which is a pickle"),
    (re.compile(r"\.(pkl|pickle|pt|pth)$"), "a pickle"),
)


def scan_program(path: Path) -> None:
    """Checks a ``.pt2`` file without loading it.

    Raises:
        ModelError: It is no such file, or holds something that `torch.export.save` does not write for a network of tensors. The message
        names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, path)
    except zipfile.BadZipFile as error:
        raise ModelError(f"model.program: {path.name} is not a .pt2 file: {error}") from error
    except (OSError, ValueError, KeyError, RecursionError, NotImplementedError) as error:
        raise ModelError(f"model.program: {path.name} is damaged: {error}") from error


def _check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    entries = _checked_entries(archive, path)
    if _MODEL not in entries:
        raise _refused(path, f"it has no {_MODEL}; save it with torch.export.save")
    for name in entries:
        if name.endswith("_config.json"):
            _check_payloads(json.loads(archive.read(entries[name])), path, name)
        elif name.endswith(".pt"):
            _check_pickle(archive.read(entries[name]), path, name)
    try:
        check_graph(json.loads(archive.read(entries[_MODEL])))
    except GraphRefusedError as error:
        raise _refused(path, f"{_MODEL} holds {error}") from error


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    for info in archive.infolist():
        root, _, name = info.filename.partition("/")
        roots.add(root)
        reason = next((reason for pattern, reason in _REASONS if pattern.search(name) and not _ENTRIES.fullmatch(name)), None)
        if reason is not None:
            raise _refused(path, f"its entry {info.filename!r} is {reason}")
        if _ENTRIES.fullmatch(name) is None or ".." in info.filename:
            raise _refused(path, f"its entry {info.filename!r} is not one that torch.export.save writes")
        if name in entries:
            raise _refused(path, f"its entry {info.filename!r} stands twice")
        if info.compress_type != zipfile.ZIP_STORED:
            # torch stores without compression, and what is not compressed cannot be a bomb.
            raise _refused(path, f"its entry {info.filename!r} is compressed; torch.export.save does not compress")
        entries[name] = info
    if len(roots) > 1:
        raise _refused(path, f"it has several top folders: {', '.join(sorted(roots))}")
    if sum(info.file_size for info in entries.values()) > path.stat().st_size:
        raise _refused(path, "its entries overlap: together they are larger than the file")
    return entries


def _check_payloads(config: object, path: Path, name: str) -> None:
    payloads = config.get("config") if isinstance(config, dict) else None
    if not isinstance(payloads, dict):
        raise _refused(path, f"{name} is not a table of tensors")
    for key, payload in payloads.items():
        if not isinstance(payload, dict) or payload.get("use_pickle") is not False:
            raise _refused(path, f"{name}: {key!r} is a pickle")
        if re.fullmatch(r"(weight|tensor)_\d+", str(payload.get("path_name"))) is None:
            raise _refused(path, f"{name}: {key!r} points to {payload.get('path_name')!r}, not to a tensor")


def _check_pickle(data: bytes, path: Path, name: str) -> None:
    try:
        unsafe = get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    except Exception as error:
        raise _refused(path, f"{name} is damaged: {error}") from error
    if unsafe:
        raise _refused(path, f"{name} is a pickle that calls {', '.join(sorted(unsafe))}")


def _refused(path: Path, reason: str) -> ModelError:
    advice = "export the network again without custom objects, or give weights with an architecture"
    return ModelError(f"model.program: {path.name} is refused: {reason}; {advice}")
