"""A loop over tensors in memory that only runs the model: the most that the hardware gives at the runner's settings."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.demo_model import plain_model
from bench.throughput import BATCH, THREADS


def main() -> None:
    """Prints the rate as JSON."""
    torch.set_num_threads(THREADS)
    model = plain_model().to(memory_format=torch.channels_last)
    arrays = [np.array(Image.open(path).convert("RGB").resize((224, 224))) for path in sorted(Path(sys.argv[1]).glob("*.jpg"))]
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()
    batches = [batch.contiguous(memory_format=torch.channels_last) for batch in ((pixels - 127) / 128).split(BATCH)]
    with torch.inference_mode():
        model(batches[0])
        begun = time.perf_counter()
        for batch in batches:
            model(batch).softmax(1).topk(5)
        print(json.dumps({"imagesPerSecond": round(len(arrays) / (time.perf_counter() - begun), 2)}))


if __name__ == "__main__":
    main()
