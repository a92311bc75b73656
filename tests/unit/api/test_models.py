from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imagejob_api.base import ApiModel, duration_seconds
from imagejob_api.documents import KINDS
from imagejob_api.pipeline import STEP_KINDS, Infer, Step, StepLimit
from tests.unit.api.objects import VALID, infer

UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def models() -> Iterator[type[ApiModel]]:
    todo: list[type[ApiModel]] = [ApiModel]
    while todo:
        found = todo.pop().__subclasses__()
        todo.extend(found)
        yield from (model for model in found if model.__module__.startswith("imagejob_api."))


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.__name__)
def test_every_model_and_every_field_says_what_it_means(model: type[ApiModel]) -> None:
    assert model.__doc__
    undescribed = [name for name, field in model.model_fields.items() if not (field.description or "").strip()]
    assert undescribed == []
    assert all(field.description.rstrip().endswith((".", ";")) for field in model.model_fields.values() if field.description)


@given(st.lists(st.tuples(st.integers(0, 99_999), st.sampled_from(sorted(UNITS))), min_size=1, max_size=4))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert duration_seconds(text) == sum(number * UNITS[unit] for number, unit in parts) / 1000
    assert StepLimit(name="gpu", hold=text).hold_seconds == duration_seconds(text)


@given(st.text(alphabet="0123456789hms .-+\n", max_size=12))
def test_what_reads_as_no_duration_is_refused_by_function_and_model_alike(text: str) -> None:
    try:
        seconds = duration_seconds(text)
    except ValueError:
        with pytest.raises(ValidationError):
            StepLimit(name="gpu", hold=text)
    else:
        assert seconds >= 0
        assert StepLimit(name="gpu", hold=text).hold == text


@pytest.mark.parametrize("text", ["", "5", "s", "1.5s", "-1s", "1 s", "1d", "1s\n", "100000s", "1s1s1s1s1s", "1S"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        duration_seconds(text)


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_an_empty_kind_is_refused_because_kubernetes_would_drop_it(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"{kind} is empty, and Kubernetes drops empty fields; write {kind}: {{}}"):
        Step.model_validate({"name": "a", kind: None})


def test_an_empty_kind_beside_a_real_one_is_dropped_as_kubernetes_does() -> None:
    assert Step.model_validate({"name": "a", "save": {}, "call": None}).kind == "save"


@pytest.mark.parametrize(("kind", "seconds"), [("download", 60.0), ("save", None)])
def test_timeouts_by_kind(kind: str, seconds: float | None) -> None:
    assert Step.model_validate({"name": "a", kind: {}}).timeout_seconds == seconds
    assert Step.model_validate({"name": "a", kind: {}, "timeout": "1m"}).timeout_seconds == 60.0


def test_labels_come_from_a_name_or_from_a_list() -> None:
    assert Infer.model_validate(infer()).labels is None
    assert Infer.model_validate(infer(labels="imagenet-1k")).labels == "imagenet-1k"
    assert Infer.model_validate(infer(labelNames=["cat", "dog"])).labels == ["cat", "dog"]


def test_infinity_and_nan_are_refused() -> None:
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValidationError, match="finite number"):
            Infer.model_validate(infer(preprocess={"normalize": {"scale": value}}))


@pytest.mark.parametrize("name", [name for name in VALID if "null" not in name])
def test_an_object_survives_being_read_and_written(name: str) -> None:
    value = VALID[name]
    checked = KINDS[value["kind"]].model_validate(value)
    assert checked.model_dump(mode="json", by_alias=True, exclude_unset=True) == value
