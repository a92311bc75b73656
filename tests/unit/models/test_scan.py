"""A hostile .pt2 never gets as far as torch."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imagejob_runner.exceptions import ModelError
from imagejob_runner.models.program import load_program
from tests.tools.networks import Tiny
from tests.unit.models.programs import Json, rewritten

pytestmark = pytest.mark.model

CPU = torch.device("cpu")


class Payload:
    """A pickle that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_program(path, CPU, 16)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_what_export_writes_passes_and_works(sound: Path, tmp_path: Path) -> None:
    copy = rewritten(sound, tmp_path / "copy.pt2")
    for path in (sound, copy):
        program = load_program(path, CPU, 16)
        assert program.batch_range == (1, 64)
        images = torch.rand(3, 3, 16, 16)
        assert torch.allclose(program.network(images), Tiny().eval()(images), atol=1e-6)


def test_ordinary_operators_pass(tmp_path: Path) -> None:
    class Ordinary(Tiny):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = nn.functional.interpolate(self.first(images), size=(8, 8), mode="bilinear")
            features = nn.functional.scaled_dot_product_attention(features, features, features)
            with torch.no_grad():
                mixed = torch.einsum("bchw,dc->bdhw", features, self.second.weight[:, :, 0, 0])
            parts = mixed.reshape(images.shape[0] * 2, -1).reshape(images.shape[0], -1)
            return self.head(parts[:, :8]) + images.shape[0] // 2

    path = tmp_path / "ordinary.pt2"
    shapes = {"images": {0: torch.export.Dim("batch", min=2, max=64)}}
    network = Ordinary().eval()
    torch.export.save(torch.export.export(network, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=shapes), path)
    images = torch.rand(3, 3, 16, 16)
    assert torch.allclose(load_program(path, CPU, 16).network(images), network(images), atol=1e-5)


@pytest.mark.parametrize("shapes", [None, {"images": {0: torch.export.Dim.AUTO}}, {"images": {0: torch.export.Dim("batch")}}])
def test_batch_range_is_read_from_the_program(shapes: dict[str, Any] | None, tmp_path: Path) -> None:
    path = tmp_path / "program.pt2"
    torch.export.save(torch.export.export(Tiny().eval(), (torch.zeros(4, 3, 16, 16),), dynamic_shapes=shapes), path)
    smallest, largest = load_program(path, CPU, 16).batch_range
    assert (smallest, largest) == ((4, 4) if shapes is None else (smallest, None))
    assert 1 <= smallest <= 4


def test_program_for_another_image_size(sound: Path) -> None:
    with pytest.raises(ModelError, match=r"takes images of shape \(3, 16, 16\), not \(3, 224, 224\); set preprocess.size"):
        load_program(sound, CPU, 224)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("data/aotinductor/model/model.so", "code"),
        ("data/aotinductor/model/weights_config.json", "AOTInductor"),
        ("data/constants/custom_obj_0", "custom object"),
        ("data/constants/opaque_obj_0", "custom object"),
        ("data/weights/model.pt", "pickle"),
        ("data/constants/model.pt", "pickle"),
        ("extra/evil.so", "code"),
        ("extra/../../evil", "not one that"),
        ("models/other.json", "not one that"),
        ("data/weights/../../weight_1", "not one that"),
    ],
)
def test_entries_that_export_does_not_write(sound: Path, tmp_path: Path, name: str, reason: str) -> None:
    message = refusal(rewritten(sound, tmp_path / "bad.pt2", entries={name: b"\x7fELF"}))
    assert reason in message
    assert name in message


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside"])
def test_paths_that_leave_the_archive(sound: Path, tmp_path: Path, name: str) -> None:
    assert name in refusal(rewritten(sound, tmp_path / "bad.pt2", entries={name: b"x"}))


def test_compressed_entries(sound: Path, tmp_path: Path) -> None:
    path = rewritten(sound, tmp_path / "bomb.pt2", entries={"data/weights/weight_99": bytes(10_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    assert "compressed" in refusal(path)


def test_entries_that_stand_twice(sound: Path, tmp_path: Path) -> None:
    path = rewritten(sound, tmp_path / "twice.pt2")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.infolist()[0].filename, b"{}")
    assert "twice" in refusal(path).replace(path.name, "")


def test_sample_inputs_that_call_something(sound: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    buffer = io.BytesIO()
    torch.save(((Payload(mark),), {}), buffer)
    assert "pickle that calls" in refusal(
        rewritten(sound, tmp_path / "bad.pt2", entries={"data/sample_inputs/model.pt": buffer.getvalue()})
    )
    raw = pickle.dumps(Payload(mark))
    assert "damaged" in refusal(rewritten(sound, tmp_path / "bad.pt2", entries={"data/sample_inputs/model.pt": raw}))
    assert not mark.exists()


def test_weights_that_say_pickle(sound: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with zipfile.ZipFile(sound) as archive:
        name = next(name for name in archive.namelist() if name.endswith("model_weights_config.json"))
        config = json.loads(archive.read(name))
    next(iter(config["config"].values()))["use_pickle"] = True
    entries = {"data/weights/model_weights_config.json": json.dumps(config).encode(), "data/weights/weight_0": pickle.dumps(Payload(mark))}
    assert "is a pickle" in refusal(rewritten(sound, tmp_path / "bad.pt2", entries=entries))
    assert not mark.exists()


def first_node(model: Json) -> Json:
    node: Json = model["graph_module"]["graph"]["nodes"][0]
    return node


class TestGraph:
    """Strings of the graph that end in evaluated or generated Python."""

    @pytest.fixture
    def code(self, tmp_path: Path) -> str:
        return f"__import__('pathlib').Path({str(tmp_path / 'mark')!r}).touch()"

    @pytest.fixture(autouse=True)
    def _nothing_ran(self, tmp_path: Path) -> Iterator[None]:
        yield
        assert not (tmp_path / "mark").exists()

    def test_sizes(self, sound: Path, tmp_path: Path, code: str) -> None:
        def change(model: Json) -> None:
            for value in model["graph_module"]["graph"]["tensor_values"].values():
                for size in value["sizes"]:
                    if "as_expr" in size:
                        size["as_expr"]["expr_str"] = code

        assert "more than arithmetic" in refusal(rewritten(sound, tmp_path / "bad.pt2", graph=change))

    @pytest.mark.parametrize(
        "text",
        [
            "().__class__",
            "Symbol.__class__",
            "lambda: 1",
            "[x for x in y]",
            "eval(x)",
            "x[0]",
            "Symbol('a b')",
            "f'{x}'",
            "x := 1",
            "9" * 5000,
            "(" * 500,
        ],
    )
    def test_expressions(self, sound: Path, tmp_path: Path, text: str) -> None:
        def change(model: Json) -> None:
            model["expr_str"] = text

        assert "more than arithmetic" in refusal(rewritten(sound, tmp_path / "bad.pt2", graph=change))

    def test_guards(self, sound: Path, tmp_path: Path, code: str) -> None:
        assert "guards" in refusal(rewritten(sound, tmp_path / "bad.pt2", graph=lambda model: model.update(guards_code=[code])))

    @pytest.mark.parametrize(
        "target",
        [
            "torch.os.system",
            "torch.load",
            "torch.ops.load_library",
            "torch.ops.aten.from_file.default",
            "_operator.call",
            "_operator.attrgetter",
            "os.system",
            "#x:y",
        ],
    )
    def test_targets(self, sound: Path, tmp_path: Path, target: str) -> None:
        message = refusal(rewritten(sound, tmp_path / "bad.pt2", graph=lambda model: first_node(model).update(target=target)))
        assert f"the operator {target!r}" in message

    def test_operators_as_arguments(self, sound: Path, tmp_path: Path) -> None:
        def change(model: Json) -> None:
            first_node(model)["inputs"][0]["arg"] = {"as_operator": "torch.os.system"}

        assert "torch.os.system" in refusal(rewritten(sound, tmp_path / "bad.pt2", graph=change))

    def test_names(self, sound: Path, tmp_path: Path, code: str) -> None:
        message = refusal(rewritten(sound, tmp_path / "bad.pt2", graph=lambda model: first_node(model).update(name=f"x={code}")))
        assert "not a plain name" in message

    def test_argument_names(self, sound: Path, tmp_path: Path, code: str) -> None:
        def change(model: Json) -> None:
            model["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [f"images={code}"]

        assert "not a plain name" in refusal(rewritten(sound, tmp_path / "bad.pt2", graph=change))

    @pytest.mark.parametrize(
        "spec",
        [
            '[1, {"type": "os.system", "context": "null", "children_spec": []}]',
            '[1, {"type": "builtins.dict", "context": "[{\\"__enum__\\": true, \\"fqn\\": \\"antigravity:X\\"}]", "children_spec": []}]',
        ],
    )
    def test_specs(self, sound: Path, tmp_path: Path, spec: str) -> None:
        def change(model: Json) -> None:
            model["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = spec

        assert "not a tuple, list or dict" in refusal(rewritten(sound, tmp_path / "bad.pt2", graph=change))

    def test_keys(self, sound: Path, tmp_path: Path, code: str) -> None:
        def change(model: Json) -> None:
            model["range_constraints"][code] = {"min_val": 0, "max_val": 1}

        assert "not a plain name" in refusal(rewritten(sound, tmp_path / "bad.pt2", graph=change))


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 not really"])
def test_other_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "text.pt2"
    path.write_bytes(data)
    assert "not a .pt2 file" in refusal(path)


def test_a_state_dict_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt2"
    torch.save(Tiny().state_dict(), path)
    assert "refused" in refusal(path)


def test_the_environment_is_as_before(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "0"):
        if before is None:
            monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
        else:
            monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", before)
        load_program(sound, CPU, 16)
        assert os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD") == before
