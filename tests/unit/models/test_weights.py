import collections
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from imagejob_runner.exceptions import ModelError
from imagejob_runner.models.architecture import build
from imagejob_runner.models.weights import load_into, read_weights
from tests.tools.networks import Tiny

pytestmark = pytest.mark.model

NETWORKS = "tests.tools.networks"


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def equal(found: dict[str, torch.Tensor]) -> bool:
    expected = Tiny().state_dict()
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


class TestReading:
    def test_state_dict_of_any_file_name(self, tmp_path: Path) -> None:
        assert equal(read_weights(saved(tmp_path / "cached", Tiny().state_dict())))

    def test_safetensors_of_any_file_name(self, tmp_path: Path) -> None:
        save_file(Tiny().state_dict(), tmp_path / "cached")
        assert equal(read_weights(tmp_path / "cached"))

    def test_checkpoint_and_data_parallel(self, tmp_path: Path) -> None:
        parallel = collections.OrderedDict((f"module.{key}", value) for key, value in Tiny().state_dict().items())
        assert equal(read_weights(saved(tmp_path / "w.pt", {"state_dict": parallel, "epoch": 3, "arch": "tiny"})))

    def test_the_old_file_format(self, tmp_path: Path) -> None:
        torch.save(Tiny().state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
        assert equal(read_weights(tmp_path / "w.pt"))


class TestRefusals:
    @pytest.mark.parametrize("new_format", [True, False])
    def test_a_pickle_that_runs_code_does_not_run(self, tmp_path: Path, *, new_format: bool) -> None:
        mark = tmp_path / "mark"
        torch.save({"first.weight": Payload(mark)}, tmp_path / "evil.pt", _use_new_zipfile_serialization=new_format)
        with pytest.raises(ModelError, match=r"evil.pt is refused.*state_dict") as caught:
            read_weights(tmp_path / "evil.pt")
        assert not mark.exists()
        assert "weights_only" not in str(caught.value)  # torch's advice to switch the check off

    def test_a_plain_pickle(self, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Payload(mark)))
        with pytest.raises(ModelError, match=r"evil.pkl"):
            read_weights(tmp_path / "evil.pkl")
        assert not mark.exists()

    def test_a_forced_unsafe_load_is_not_heeded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        mark = tmp_path / "mark"
        with pytest.raises(ModelError):
            read_weights(saved(tmp_path / "evil.pt", Payload(mark)))
        assert not mark.exists()

    def test_a_whole_module(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"holds more than tensors.*Tiny"):
            read_weights(saved(tmp_path / "module.pt", Tiny()))

    @pytest.mark.parametrize(
        ("content", "reason"), [([1, 2], "holds a list"), ({"a": 1}, "'a' is a int"), ({1: torch.ones(1)}, "1 is a Tensor")]
    )
    def test_no_state_dict(self, tmp_path: Path, content: object, reason: str) -> None:
        with pytest.raises(ModelError, match=reason):
            read_weights(saved(tmp_path / "w.pt", content))

    @pytest.mark.parametrize("data", [b"", b"hello there", b"PK\x03\x04 broken", b"\x10\0\0\0\0\0\0\0{broken header}"])
    def test_other_files(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "w.pt").write_bytes(data)
        with pytest.raises(ModelError, match=r"w.pt"):
            read_weights(tmp_path / "w.pt")

    def test_a_cut_file(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "w.pt", Tiny().state_dict())
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(ModelError, match=r"w.pt"):
            read_weights(path)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"cannot be read"):
            read_weights(tmp_path / "none.pt")


class TestKeys:
    def test_missing_and_unexpected(self) -> None:
        weights = Tiny().state_dict()
        weights["extra.weight"] = weights.pop("head.weight")
        with pytest.raises(ModelError, match=r"w.pt does not fit.*1 missing \(head.weight\) and 1 unexpected \(extra.weight\)"):
            load_into(Tiny(), weights, "w.pt")

    def test_many_are_cut_short(self) -> None:
        with pytest.raises(ModelError, match=r"13 missing \(.*, …\)"):
            load_into(Tiny(), {}, "w.pt")

    def test_shapes(self) -> None:
        with pytest.raises(ModelError, match=r"head.weight.*\[5, 8\].*\[9, 8\]"):
            load_into(Tiny(classes=9), Tiny().state_dict(), "w.pt")


class TestArchitecture:
    @pytest.mark.parametrize("path", ["Tiny", "Tiny.named"])
    def test_function_class_and_class_method(self, path: str) -> None:
        arguments = {"name": "tiny"} if path == "Tiny.named" else {}
        assert isinstance(build(f"{NETWORKS}:{path}", {**arguments, "classes": 3}), nn.Module)

    @pytest.mark.parametrize(
        ("path", "arguments", "reason"),
        [
            ("tests.tools.networks", {}, "module:function"),
            ("no_such_package:net", {}, "no_such_package.*install"),
            (f"{NETWORKS}:nothing", {}, "has no 'nothing'"),
            (f"{NETWORKS}:NOT_CALLABLE", {}, "is a int, not a function"),
            (f"{NETWORKS}:no_module", {}, "returned a dict"),
            (f"{NETWORKS}:fails", {}, "RuntimeError: no such configuration"),
            (f"{NETWORKS}:Tiny", {"colour": "red"}, "unexpected keyword argument 'colour'"),
            (f"{NETWORKS}:Tiny.named", {"name": "huge"}, "no network is called huge"),
        ],
    )
    def test_mistakes(self, path: str, arguments: dict[str, object], reason: str) -> None:
        with pytest.raises(ModelError, match=reason) as caught:
            build(path, arguments)
        assert path in str(caught.value)
