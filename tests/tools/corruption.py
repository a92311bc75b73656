"""Corrupts real outputs in thousands of ways and counts what `verify` misses.

    python -m tests.tools.corruption --count 10000 --seed 1

Each corruption changes one finished output, of the one format or the other: bytes are flipped, set, dropped, repeated and swapped; so are
lines, rows and whole files, also with those of another job; and rows, plan, summary and audit records get wrong values and the digests that
belong to them, as a defective writer would make them. A corruption counts as
found when the report has a problem or reading ends in a `RunnerError`; anything else that is raised is a crash.

Two kinds of change are no corruption. What the output says before and after, read without any code of `verify`, decides:
*same*, every claim is the same (no byte differs, or a file was added that nothing refers to); and *fewer*, every claim is the same, but the
last audit records of a process are missing, as those of a process that was killed may be (docs/rows.md).
"""

import argparse
import asyncio
import io
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from imagejob_api.imagejob import FailurePolicy, ImageJobSpec
from imagejob_runner import shard
from imagejob_runner.audit import holds_name
from imagejob_runner.exceptions import RunnerError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.output import OutputKind, decode_rows, encode_rows, finalize, verify
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.planning import plan_job, planned_models
from imagejob_runner.sealed import sealed_file
from imagejob_runner.shard import ShardRequest, ShardRun
from imagejob_runner.storage import open_output
from tests.tools.slots import WantedSlots

FORMATS: Final = ("jsonl", "parquet")
IMAGES: Final = 10
_SIZE: Final = 16
KINDS: Final = {"choose": OutputKind.JSON, "classify": OutputKind.CLASSES, "save": OutputKind.IMAGE}
"""Of the outputs."""

Files = dict[str, bytes]
"""An output: the bytes of each name."""


def leave_out(item: ImageItem) -> None:
    """The `call` step: skips one image."""
    if item.id == "image-5":
        raise SkipImage("too dull")


async def make_output(folder: Path, form: str, *, name: str = "job", seed: int = 0) -> Path:
    """Runs a job of a few images, one of them missing and one skipped, with a model, derived images and slots; returns its output."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    noise = np.random.default_rng(seed)
    for number in range(IMAGES):
        if number != 3:
            Image.fromarray(noise.integers(0, 255, (9, 12, 3), dtype=np.uint8)).save(pictures / f"{number}.png")
    output = folder / "out"
    plain = {"size": _SIZE, "normalize": {"mean": [0, 0, 0], "std": [1, 1, 1]}}
    model = {"architecture": "tests.tools.networks:Tiny", "arguments": {}}
    spec = ImageJobSpec.model_validate(
        {
            "source": {"urls": [{"id": f"image-{number}", "url": str(pictures / f"{number}.png")} for number in range(IMAGES)]},
            "pipeline": {
                "steps": [
                    {"name": "download", "download": {}},
                    {"name": "choose", "call": {"function": "tests.tools.corruption:leave_out"}},
                    {"name": "shape", "transform": {}},
                    {
                        "name": "classify",
                        "infer": {"model": model, "preprocess": plain, "device": "cpu", "threads": 1, "outputs": {"topK": {"k": 2}}},
                        "limits": [{"name": "gpu", "hold": "0s"}],
                    },
                    {"name": "save", "save": {"image": {"format": "png"}}},
                ]
            },
            "output": {"url": str(output), "format": form},
            "chunkSize": 2,
            "failurePolicy": {"maxFailureRate": 0.2},
        }
    )
    assert spec.pipeline is not None
    store = open_output(str(output))
    plan = await plan_job(spec, spec.pipeline, store, name=name, default_shards=2)
    seconds, shard.HOLDS_SECONDS = shard.HOLDS_SECONDS, 0.0
    try:
        for number in range(plan.shards):
            models = planned_models(plan.components)
            request = ShardRequest(
                str(output), (number,), spec.pipeline, models, retry_failed=False, run_id="run", settings=EngineSettings(cpus=1)
            )
            await ShardRun(request, WantedSlots()).run()
    finally:
        shard.HOLDS_SECONDS = seconds
    summary = await finalize(store, plan, FailurePolicy(max_failure_rate=0.2), {"elapsedSeconds": 1.5})
    assert summary.success
    assert (summary.failed, summary.skipped) == (1, 1)
    return output


def read_files(output: Path) -> Files:
    """The output as it is."""
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*")) if path.is_file()}


def claims(files: Files) -> dict[str, str]:
    """What an output says, by plain parsers: the plan and the files that it means, and the files that those name.

    Raises:
        ValueError, KeyError, TypeError, OSError: It cannot be parsed.
    """
    said: dict[str, Any] = {}
    plan = json.loads(files["_imagejob/plan.json"])
    folders = ("results/", "_imagejob/holds/", f"{plan['manifest']}/")
    alone = ("_imagejob/plan.json", "errors.jsonl", "summary.json", "_SUCCESS")
    rows: list[Any] = []
    for name in [name for name in files if name in alone or name.startswith(folders)]:
        data = files[name]
        if name.endswith(".parquet"):
            rows += said.setdefault(name, pq.read_table(io.BytesIO(data)).to_pylist())
        elif name.endswith(".jsonl"):
            said[name] = [json.loads(line) for line in data.decode().splitlines()]
            rows += said[name] if name.startswith("results/") else []
        else:
            said[name] = json.loads(data) if name.endswith(".json") else data
    for row in rows:
        saved = row["outputs"].get("save") or json.loads(row.get("more") or "{}").get("outputs", {}).get("save")
        if saved:
            said[saved["image"]] = files[saved["image"]]
    return {name: repr(value) for name, value in said.items()}


def is_last_of_a_run(name: str, files: Files) -> bool:
    """Whether a name is that of the last audit file that a process wrote."""
    if not name.startswith("_imagejob/holds/"):
        return False
    process, number = _process(name)
    return not any(_process(other)[0] == process and _process(other)[1] > number for other in files if other.startswith("_imagejob/holds/"))


def _process(name: str) -> tuple[str, int]:
    process, number, _ = name.rsplit("-", 2)
    return process, int(number)


def excused(before: Files, after: Files) -> str | None:
    """Why a change is no corruption: ``same`` or ``fewer``; None if it is one."""
    if before == after:
        return "same"
    gone = before.keys() - after.keys()
    try:
        said, says = claims(before), claims(after)
    except (ValueError, KeyError, TypeError, OSError):
        return None
    if said == says:
        return "same"
    if len(gone) == 1 and is_last_of_a_run(next(iter(gone)), before):
        return "fewer" if says == {name: value for name, value in said.items() if name not in gone} else None
    return None


class Corruptor:
    """Changes an output in one random way.

    Args:
        files: The output.
        others: That of another job of the same format.
        random: What chooses.
    """

    def __init__(self, files: Files, others: Files, chooser: random.Random) -> None:
        self._files, self._others, self._random = files, others, chooser
        self.kinds: dict[str, Callable[[Files], str]] = {
            "flip a bit": self._on_bytes(self._flip),
            "set a byte": self._on_bytes(lambda data, at: data[:at] + self._random.randbytes(1) + data[at + 1 :]),
            "drop bytes": self._on_bytes(lambda data, at: data[:at] + data[at + self._length() :]),
            "repeat bytes": self._on_bytes(self._repeat),
            "insert bytes": self._on_bytes(lambda data, at: data[:at] + self._random.randbytes(self._length()) + data[at:]),
            "swap bytes": self._on_bytes(self._swap),
            "cut the file": self._on_bytes(lambda data, at: data[:at]),
            "zeros": self._on_bytes(lambda data, at: data[:at] + bytes(len(data) - at)),
            "add to the file": self._on_bytes(lambda data, at: data + (data[at:] if self._random.random() < 0.5 else b"\n")),
            "drop a line": self._on_lines(lambda lines, at: lines[:at] + lines[at + 1 :]),
            "repeat a line": self._on_lines(lambda lines, at: [*lines[:at], lines[at], *lines[at:]]),
            "swap lines": self._on_lines(self._swapped),
            "drop a row": self._on_rows(lambda rows, at: rows[:at] + rows[at + 1 :]),
            "repeat a row": self._on_rows(lambda rows, at: [*rows[:at], rows[at], *rows[at:]]),
            "swap rows": self._on_rows(self._swapped),
            "a row of another part": self._on_rows(self._foreign_row),
            "a wrong row": self._on_rows(self._wrong_row),
            "a wrong plan": self._wrong_plan,
            "a wrong summary": self._wrong_summary,
            "wrong audit records": self._wrong_holds,
            "drop a file": self._drop_file,
            "a file under another name": self._copy_file,
            "swap files": self._swap_files,
            "one file over another": self._over,
            "a file of another job": self._of_another,
        }
        self._turn = cycle(self.kinds)

    def corrupt(self) -> tuple[str, str, Files]:
        """The kind of change, one after the other; what was changed; and the output after it."""
        kind = next(self._turn)
        files = dict(self._files)
        return kind, self.kinds[kind](files), files

    def _length(self) -> int:
        return self._random.choice((1, 1, 1, 2, 3, 8, 40))

    def _choose(self, *, lines: bool = False) -> str:
        names = [name for name, data in self._files.items() if (data.count(b"\n") if lines else data)]
        # The kind of file first: there are many images and one summary.
        kind = self._random.choice(sorted({_kind(name) for name in names}))
        return self._random.choice([name for name in names if _kind(name) == kind])

    def _on_bytes(self, change: Callable[[bytes, int], bytes]) -> Callable[[Files], str]:
        def corrupt(files: Files) -> str:
            name = self._choose()
            at = self._random.randrange(len(files[name]))
            files[name] = change(files[name], at)
            return f"{name} at {at}"

        return corrupt

    def _on_lines(self, change: Callable[[list[bytes], int], list[bytes]]) -> Callable[[Files], str]:
        def corrupt(files: Files) -> str:
            name = self._choose(lines=True)
            lines = files[name].splitlines(keepends=True)
            at = self._random.randrange(len(lines))
            files[name] = b"".join(change(lines, at))
            return f"{name}, line {at + 1}"

        return corrupt

    def _on_rows(self, change: Callable[[list[Any], int], list[Any]]) -> Callable[[Files], str]:
        def corrupt(files: Files) -> str:
            name = self._random.choice([name for name in files if name.startswith("results/")])
            form = name.rpartition(".")[2]
            rows = decode_rows(files[name], form)
            at = self._random.randrange(len(rows))
            files[name] = encode_rows(change(rows, at), form, KINDS)
            return f"{name}, row {at + 1}"

        return corrupt

    def _flip(self, data: bytes, at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ (1 << self._random.randrange(8))]) + data[at + 1 :]

    def _repeat(self, data: bytes, at: int) -> bytes:
        end = at + self._length()
        return data[:end] + data[at:end] + data[end:]

    def _swap(self, data: bytes, at: int) -> bytes:
        changed = bytearray(data)
        other = self._random.choice((min(at + 1, len(data) - 1), self._random.randrange(len(data))))
        changed[at], changed[other] = changed[other], changed[at]
        return bytes(changed)

    def _swapped(self, values: list[Any], at: int) -> list[Any]:
        changed = list(values)
        other = (at + self._random.randrange(1, max(2, len(values)))) % len(values)
        changed[at], changed[other] = changed[other], changed[at]
        return changed

    def _foreign_row(self, rows: list[Any], at: int) -> list[Any]:
        name = self._random.choice([name for name in self._files if name.startswith("results/")])
        other = self._random.choice(decode_rows(self._files[name], name.rpartition(".")[2]))
        return [*rows[:at], other, *rows[at + 1 :]]

    def _wrong_row(self, rows: list[Any], at: int) -> list[Any]:
        row = json.loads(json.dumps(rows[at]))
        changes: list[dict[str, Any]] = [
            {"id": f"{row['id']}x"},
            {"url": f"{row['url']}x"},
            {"outputs": {"save": row["outputs"].get("save")}} if row["status"] == "ok" else {"status": "ok", "error": None},
            {"outputs": {**row["outputs"], "save": None}},
            {"provenance": {**row["provenance"], "modelSha256": "0" * 64}},
            {"provenance": {**row["provenance"], "inputSha256": "0"}},
            {"provenance": {**row["provenance"], "inputBytes": -1}},
            {"timings": {"download": -1.0}},
            {"status": "failed", "error": {"code": "Other", "message": "", "attempts": 1, "retryable": False}},
        ]
        return [*rows[:at], {**row, **self._random.choice(changes)}, *rows[at + 1 :]]

    def _wrong_plan(self, files: Files) -> str:
        changes: list[dict[str, Any]] = [
            *({name: number} for name in ("total", "chunk_size", "shards") for number in (0, 1, 4, 11, -1, 2.5, None, True)),
            *({name: text} for name in ("format", "manifest", "fingerprint") for text in ("", "jsonl ", "../x", "0" * 64, None)),
            *({"components": components} for components in (None, {}, {"source": {}, "steps": []}, [])),
        ]
        return self._sealed_anew(files, "_imagejob/plan.json", changes)

    def _wrong_summary(self, files: Files) -> str:
        images = {"total": IMAGES, "succeeded": IMAGES - 1, "failed": 0, "skipped": 1}
        changes: list[dict[str, Any]] = [
            {"name": "other"},
            {"fingerprint": "0" * 64},
            {"phase": "Failed"},
            {"phase": None},
            {"images": images},
            {"images": None},
            {"errorCodes": {}},
            {"errorCodes": {"Timeout": 1}},
            {"errorCodes": {"NotFound": -1}},
            {"facts": None},
        ]
        return self._sealed_anew(files, "summary.json", changes)

    def _sealed_anew(self, files: Files, name: str, changes: list[dict[str, Any]]) -> str:
        record = json.loads(files[name])
        del record["digest"]
        change = self._random.choice(changes)
        files[name] = sealed_file({**record, **change})
        return f"{name}: {change}"

    def _wrong_holds(self, files: Files) -> str:
        name = self._random.choice([name for name in files if name.startswith("_imagejob/holds/")])
        lines = files.pop(name).splitlines(keepends=True)
        first = json.loads(lines[0])
        changes: list[dict[str, Any]] = [
            {"end": first["end"] + 3600.0},
            {"start": first["end"] + 1.0},
            {"asked": first["start"] + 1.0},
            {"end": float("nan")},
            {"start": float("-inf")},
            {"fence": -1},
            {"fence": 1.0},
            {"slot": None},
            {"busy": "1"},
            {"more": 1},
        ]
        change = self._random.choice(changes)
        data = b"".join([json.dumps({**first, **change}).encode() + b"\n", *lines[1:], *([lines[0]] if len(lines) == 1 else [])])
        shard_number, run, number, _ = name.rpartition("/")[2].split("-")
        changed = holds_name(int(shard_number), run, int(number), data)
        files[changed] = data
        return f"{name}: {change}"

    def _drop_file(self, files: Files) -> str:
        name = self._random.choice(list(files))
        del files[name]
        return name

    def _copy_file(self, files: Files) -> str:
        name = self._choose()
        folder, _, file = name.rpartition("/")
        changed = self._random.choice((f"x{file}", f"{file}.bak", file.replace("0", "1"), file.replace("1", "2", 1)))
        files[f"{folder}/{changed}".lstrip("/")] = files[name]
        return f"{name} as {changed}"

    def _swap_files(self, files: Files) -> str:
        first, second = self._choose(), self._random.choice(list(files))
        files[first], files[second] = files[second], files[first]
        return f"{first} and {second}"

    def _over(self, files: Files) -> str:
        first, second = self._choose(), self._random.choice(list(files))
        files[second] = files[first]
        return f"{first} over {second}"

    def _of_another(self, files: Files) -> str:
        name = self._random.choice(sorted(self._others))
        files[name] = self._others[name]
        return name


def _kind(name: str) -> str:
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == "_imagejob" else parts[0]


@dataclass
class Score:
    """What became of so many corruptions."""

    done: Counter[str] = field(default_factory=Counter)
    """All, by kind."""
    excused: Counter[str] = field(default_factory=Counter)
    """Those that were not found and are none, by reason and kind."""
    missed: list[str] = field(default_factory=list)
    """Corruptions that `verify` did not see."""
    crashes: list[str] = field(default_factory=list)
    """Corruptions that made it raise what nobody should see."""
    false_alarms: list[str] = field(default_factory=list)
    """Outputs that nothing had changed in, and that were called wrong."""

    def lines(self) -> list[str]:
        """The score for people."""
        found = self.done.total() - self.excused.total() - len(self.missed) - len(self.crashes)
        real = self.done.total() - self.excused.total()
        return [
            f"{self.done.total()} changes, {self.excused.total()} of them no corruption",
            f"{found} of {real} corruptions found, {len(self.missed)} missed, {len(self.crashes)} crashes",
            *(f"  {count:6} {kind}" for kind, count in sorted(self.done.items())),
            *(f"  {count:6} no corruption: {why}" for why, count in sorted(self.excused.items())),
            *(f"  missed: {one}" for one in self.missed),
            *(f"  crash: {one}" for one in self.crashes),
            *(f"  called wrong, though nothing was changed: {one}" for one in self.false_alarms),
        ]


async def corrupt(folder: Path, form: str, count: int, seed: int) -> Score:
    """Makes an output, changes it so often, and counts.

    Args:
        folder: An empty folder.
        form: The format of the output.
        count: Number of changes.
        seed: Of the choices.
    """
    output = await make_output(folder / "one", form)
    whole = read_files(output)
    others = read_files(await make_output(folder / "two", form, name="other", seed=1))
    report = await verify(open_output(str(output)))
    assert report.ok, report.problems
    corruptor, score = Corruptor(whole, others, random.Random(seed)), Score()  # noqa: S311  guards nothing
    for _ in range(count):
        kind, what, changed = corruptor.corrupt()
        _write(output, whole, changed)
        score.done[kind] += 1
        said = f"{form}: {kind}: {what}"
        try:
            found = not (await verify(open_output(str(output)))).ok
        except RunnerError:
            found = True
        except Exception as error:  # noqa: BLE001  whatever it is: that is what is looked for
            score.crashes.append(f"{said}: {type(error).__name__}: {error}")
            found = True
        if found and changed == whole:
            score.false_alarms.append(said)
        elif not found and (reason := excused(whole, changed)) is not None:
            score.excused[f"{reason}, {kind}"] += 1
        elif not found:
            score.missed.append(said)
        _write(output, changed, whole)
    return score


def _write(output: Path, before: Files, after: Files) -> None:
    for name in before.keys() - after.keys():
        (output / name).unlink()
    for name, data in after.items():
        if before.get(name) != data:
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(data)


def main() -> None:
    """Corrupts outputs of both formats and prints the score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="changes of each format [default: %(default)s]")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    failed = False
    for form in FORMATS:
        folder = Path(tempfile.mkdtemp(prefix="imagejob-corruption-"))
        try:
            score = asyncio.run(corrupt(folder, form, arguments.count, arguments.seed))
        finally:
            shutil.rmtree(folder)
        print(f"{form}:", *score.lines(), sep="\n", flush=True)  # noqa: T201  it is a program
        failed = failed or bool(score.missed or score.crashes or score.false_alarms)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
