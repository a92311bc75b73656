"""What `bench.gpu` holds imagejob against, each in a process of its own: ``python -m bench.gpu_rivals PART… SETTINGS``.

Prints a JSON object a line, with images a second by the name of what was measured, and how long the imports took.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from bench.gpu_network import SIZE, architecture, build

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
_SHORTER: Final = 256
_WARM_UPS: Final = 3
_TOP: Final = 5


@dataclass(frozen=True)
class Settings:
    """How much is done.

    Attributes:
        photos: Folder of the photos by their size.
        seconds: For each of the loaders.
        model_seconds: For each figure of the bare model and of bare decoding.
        batch: Images in a pass of the bare model, of bare decoding and of the tuned loader.
        compiled: Whether to measure a compiled model.
    """

    photos: Mapping[str, str]
    seconds: float
    model_seconds: float
    batch: int
    compiled: bool

    def as_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


def model(settings: Settings) -> dict[str, float]:
    """The bare model, over one batch that is on the device already."""
    import torch

    device = _device()
    network = build(device)
    pixels = torch.rand(settings.batch, 3, SIZE, SIZE, device=device)
    rates = {"model fp32": _rate(lambda: network(pixels), settings)}
    network = network.to(torch.bfloat16).to(memory_format=torch.channels_last)
    pixels = pixels.to(torch.bfloat16).to(memory_format=torch.channels_last)
    rates["model bf16"] = _rate(lambda: network(pixels), settings)
    if settings.compiled:
        compiled = torch.compile(network, mode="reduce-overhead")
        rates["model bf16 compiled"] = _rate(lambda: compiled(pixels), settings)
    return rates


def decode(settings: Settings) -> dict[str, float]:
    """Bare decoding on the device by whichever of its decoders is there and quicker; nothing without a GPU."""
    rates: dict[str, float] = {}
    if _device() == "cpu":
        return rates
    for size, folder in settings.photos.items():
        files = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))[: settings.batch]]
        for decoder in (_nvimagecodec, _torchvision):
            try:
                rate = _rate(decoder(files), settings, len(files))
            except (ImportError, RuntimeError) as error:
                sys.stderr.write(f"{decoder.__name__.strip('_')}: {error}\n")
            else:
                rates[f"decode {size}"] = max(rate, rates.get(f"decode {size}", 0.0))
    return rates


def _nvimagecodec(files: Sequence[bytes]) -> Callable[[], object]:
    from nvidia import nvimgcodec

    decoder = nvimgcodec.Decoder()
    return lambda: decoder.decode(list(files))


def _torchvision(files: Sequence[bytes]) -> Callable[[], object]:
    import torch
    from torchvision.io import decode_jpeg

    data = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
    return lambda: decode_jpeg(data, device="cuda")


def plain(settings: Settings) -> dict[str, float]:
    """What a user of torch writes first: four workers, batches of 32, fp32."""
    return {"loader plain": _load(settings, tuned=False, batch_size=32, num_workers=4)}


def tuned(settings: Settings) -> dict[str, float]:
    """The same by somebody who knows how: every CPU, decoding as a draft, bf16, channels last, pinned memory, large batches."""
    import torch

    fast: dict[str, Any] = {"pin_memory": torch.cuda.is_available(), "prefetch_factor": 4, "num_workers": len(os.sched_getaffinity(0))}
    return {"loader tuned": _load(settings, tuned=True, batch_size=settings.batch, **fast)}


def _load(settings: Settings, *, tuned: bool, **options: Any) -> float:  # noqa: ANN401  of a DataLoader
    import torch

    device, folder = _device(), next(iter(settings.photos.values()))
    kind, layout = (torch.bfloat16, torch.channels_last) if tuned else (torch.float32, torch.contiguous_format)
    network = build(device).to(kind).to(memory_format=layout)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) * 255 for values in (_MEAN, _STD))
    photos = _Photos(folder, draft=tuned)
    rows, end = 0, time.perf_counter() + settings.seconds
    begun = time.perf_counter()
    with torch.inference_mode(), tempfile.TemporaryFile("w") as file:
        for pixels, numbers in torch.utils.data.DataLoader(photos, **options):
            given = pixels.to(device, non_blocking=tuned).float().sub_(mean).div_(std).to(kind).to(memory_format=layout)
            best = network(given).float().softmax(1).topk(_TOP)
            answers = zip(numbers.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
            for number, indices, scores in answers:
                file.write(json.dumps({"id": number, "top": list(zip(indices, scores, strict=True))}) + "\n")
            rows += len(numbers)
            if time.perf_counter() > end:
                break
        return rows / (time.perf_counter() - begun)


class _Photos:
    """The photos of a folder again and again, as a DataLoader takes them: uint8 of shape (3, SIZE, SIZE) and a number."""

    def __init__(self, folder: str, *, draft: bool) -> None:
        self._paths = sorted(map(str, Path(folder).glob("*.jpg")))
        self._draft = draft

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, number: int) -> tuple[Any, int]:
        image = Image.open(self._paths[number % len(self._paths)])
        if self._draft:
            image.draft("RGB", (_SHORTER, _SHORTER))
        image = image.convert("RGB")
        scale = _SHORTER / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
        return np.asarray(image.crop((left, top, left + SIZE, top + SIZE))).transpose(2, 0, 1).copy(), number


def _rate(work: Callable[[], object], settings: Settings, images: int | None = None) -> float:
    """Images a second of a piece of work, which is a batch unless it is said how many it does."""
    import torch

    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    with torch.inference_mode():
        for _ in range(_WARM_UPS):
            work()
        synchronize()
        begun, times = time.perf_counter(), 0
        while time.perf_counter() - begun < settings.model_seconds:
            for _ in range(_WARM_UPS):  # a few without waiting, as passes of a loop follow each other
                work()
                times += 1
            synchronize()
        return times * (images or settings.batch) / (time.perf_counter() - begun)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def about() -> Iterator[dict[str, Any]]:
    """How long torch and the model's package take to import, and what there is."""
    begun = time.perf_counter()
    import torch

    if architecture("cuda").startswith("torchvision"):
        import torchvision.models  # noqa: F401  its time is what is asked for
    yield {"import seconds": time.perf_counter() - begun}
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    yield {"gpu": name, "torch": str(torch.__version__), "architecture": architecture(_device())}


_PARTS: Final = {"model": model, "decode": decode, "plain": plain, "tuned": tuned}


def main() -> None:
    """See above."""
    *parts, settings = sys.argv[1:]
    for line in about():
        print(json.dumps(line), flush=True)
    for part in parts:
        print(json.dumps(_PARTS[part](Settings(**json.loads(settings)))), flush=True)


if __name__ == "__main__":
    main()
