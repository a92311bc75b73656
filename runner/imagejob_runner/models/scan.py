"""Refusing an exported program that could run code when it is loaded.

`torch.export.load` has no safe mode: it unpickles constants, loads shared libraries of AOTInductor packages, and evaluates strings of the
graph (sympy expressions, guards, names that end in generated Python). So before torch sees a ``.pt2`` file, this module checks that it
holds nothing beyond what `torch.export.save` writes for a plain network of tensors: an allow-list of entries, and of everything inside the
graph (see `scan_graph`). What is loaded is a copy of what was scanned (see `archive` for why the file itself will not do).
"""

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from torch.serialization import get_unsafe_globals_in_checkpoint

from imagejob_runner.exceptions import ModelError, StorageError
from imagejob_runner.models.archive import ArchiveRefusedError, Member, NoArchiveError, blocks, read_members
from imagejob_runner.models.scan_graph import GraphRefusedError, check_graph

_MODEL: Final = "models/model.json"
_ROOT: Final = "program"

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


@contextmanager
def scanned_program(path: Path) -> Iterator[BinaryIO]:
    """An archive with what was scanned of a ``.pt2`` file, and nothing else: the one to load.

    Each member is read once, checked, and written into an archive of our own, a temporary file no larger than the original. Readers of ZIP
    files differ in what they find in a hostile one, and a file may change after it was scanned; of the copy neither is true.

    Raises:
        ModelError: It is no such file, can be read in more than one way, or holds something that `torch.export.save` does not write for a
            network of tensors. The message names it.
        StorageError: There is no room for the copy.
    """
    with _copy_of(path) as copy:
        try:
            with path.open("rb") as file:
                _repack(file, copy, path)
            copy.seek(0)
        except NoArchiveError as error:
            raise ModelError(f"model.program: {path.name} is not a .pt2 file: {error}") from error
        except (ArchiveRefusedError, GraphRefusedError) as error:
            raise _refused(path, str(error)) from error
        except (ValueError, RecursionError) as error:
            raise ModelError(f"model.program: {path.name} is damaged: {error}") from error
        except OSError as error:
            raise StorageError(
                f"model.program: {path.name} cannot be copied into {tempfile.gettempdir()}, where it is loaded from: {error.strerror}; "
                "make room there, or set TMPDIR to a folder with room"
            ) from error
        yield copy


@contextmanager
def _copy_of(path: Path) -> Iterator[BinaryIO]:
    try:
        file = tempfile.TemporaryFile(prefix="imagejob-program-")  # noqa: SIM115  closed below, whatever that says
    except OSError as error:
        raise StorageError(
            f"model.program: there is no folder for a temporary copy of {path.name}: {error.strerror}; set TMPDIR to one"
        ) from error
    try:
        yield file
    finally:
        # What a full disk did not take is tried once more here, and is no loss.
        with suppress(OSError):
            file.close()


def _repack(file: BinaryIO, copy: BinaryIO, path: Path) -> None:
    members = _checked_members(read_members(file), path)
    checked: dict[str, bytes] = {}
    for name, member in members.items():
        if name.endswith((".json", ".pt")):
            checked[name] = b"".join(blocks(file, member))
        if name.endswith("_config.json"):
            _check_payloads(json.loads(checked[name]), path, name)
        elif name.endswith(".pt"):
            _check_pickle(checked[name], path, name)
    try:
        check_graph(json.loads(checked[_MODEL]))
    except GraphRefusedError as error:
        raise GraphRefusedError(f"{_MODEL} holds {error}") from error
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as archive:
        for name, member in members.items():
            with archive.open(zipfile.ZipInfo(f"{_ROOT}/{name}"), "w", force_zip64=member.size >= zipfile.ZIP64_LIMIT) as target:
                target.writelines([checked[name]] if name in checked else blocks(file, member))


def _checked_members(found: Sequence[Member], path: Path) -> dict[str, Member]:
    """The members by their names below the archive's only top folder, if they are all ones that torch.export.save writes."""
    members: dict[str, Member] = {}
    roots = set()
    for member in found:
        root, _, name = member.name.partition("/")
        roots.add(root)
        reason = next((reason for pattern, reason in _REASONS if pattern.search(name) and not _ENTRIES.fullmatch(name)), None)
        if reason is not None:
            raise _refused(path, f"its entry {member.name!r} is {reason}")
        if _ENTRIES.fullmatch(name) is None or ".." in member.name:
            raise _refused(path, f"its entry {member.name!r} is not one that torch.export.save writes")
        members[name] = member
    if len(roots) > 1:
        raise _refused(path, f"it has several top folders: {', '.join(sorted(roots))}")
    if _MODEL not in members:
        raise _refused(path, f"it has no {_MODEL}; save it with torch.export.save")
    return members


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
