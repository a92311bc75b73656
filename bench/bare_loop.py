"""A loop over tensors in memory that only runs the model: the most that the hardware gives.

``python -m bench.bare_loop FOLDER NETWORK THREADS``, with one of three networks: `plain` is it as a user of torch loads it, `prepared` what
the runner makes of it (batch normalisation and padding folded, activations in place), both in the step's batches. `passes` is the latter in
passes of as many images as the runner takes, which suit the caches of a CPU. All are in channels-last memory.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.demo_model import plain_model, steps, weights
from bench.throughput import BATCH, INFER
from imagejob_api.pipeline import Infer
from imagejob_runner.models.network import Network
from imagejob_runner.models.prepare import prepare

SIZE = 224


def plain() -> tuple[torch.nn.Module, torch.memory_format, int]:
    """Network, memory format and images in a pass."""
    return plain_model().to(memory_format=torch.channels_last), torch.channels_last, BATCH


def prepared() -> tuple[torch.nn.Module, torch.memory_format, int]:
    """The same of the runner's network."""
    return *prepare(plain_model().requires_grad_(requires_grad=False), torch.rand(2, 3, SIZE, SIZE)), BATCH


def passes() -> tuple[torch.nn.Module, torch.memory_format, int]:
    """The same, in the runner's passes."""
    infer = next(step["infer"] for step in steps(**{**INFER, "threads": int(sys.argv[3])}) if "infer" in step)
    return *prepared()[:2], Network(Infer.model_validate(infer), weights()).best_batch


def main() -> None:
    """Prints the rate as JSON."""
    network, layout, size = {"plain": plain, "prepared": prepared, "passes": passes}[sys.argv[2]]()
    torch.set_num_threads(int(sys.argv[3]))
    arrays = [np.array(Image.open(path).convert("RGB").resize((SIZE, SIZE))) for path in sorted(Path(sys.argv[1]).glob("*.jpg"))]
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()
    batches = [batch.contiguous(memory_format=layout) for batch in ((pixels - 127) / 128).split(size)]
    with torch.inference_mode():
        network(batches[0])
        begun = time.perf_counter()
        for batch in batches:
            network(batch).softmax(1).topk(5)
        print(json.dumps({"imagesPerSecond": round(len(arrays) / (time.perf_counter() - begun), 2)}))


if __name__ == "__main__":
    main()
