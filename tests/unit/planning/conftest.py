"""Jobs to plan."""

from pathlib import Path
from typing import Any

import pytest

from imagejob_api.imagejob import ImageJobSpec


class JobMaker:
    """Builds job specs whose model is a file in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = folder / "weights.pt"
        self.weights.write_bytes(b"weights")
        self.output = str(folder / "out")

    def __call__(self, source: dict[str, Any], **fields: Any) -> ImageJobSpec:  # noqa: ANN401  fields of any kind
        steps = fields.pop("steps", None) or self.steps()
        output = {"url": self.output, **fields.pop("output", {})}
        return ImageJobSpec.model_validate({"source": source, "pipeline": {"steps": steps}, "output": output, "chunkSize": 3, **fields})

    def steps(self, **changes: Any) -> list[dict[str, Any]]:  # noqa: ANN401  fields of any kind
        infer = {"model": {"architecture": "a:b", "weights": str(self.weights)}, **changes.pop("infer", {})}
        return [
            {"name": "download", "download": changes.pop("download", {})},
            {"name": "transform", "transform": changes.pop("transform", {})},
            {"name": "classify", "infer": infer, **changes.pop("step", {})},
            {"name": "save", "save": {}},
        ]


def inline(count: int, prefix: str = "/data") -> dict[str, Any]:
    """A source of so many inline URLs."""
    return {"urls": [{"id": f"image-{number}", "url": f"{prefix}/{number}.jpg"} for number in range(count)]}


@pytest.fixture
def job(tmp_path: Path) -> JobMaker:
    return JobMaker(tmp_path)
