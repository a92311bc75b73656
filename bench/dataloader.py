"""What a user of torch writes first: a Dataset, a DataLoader with a worker for each core, a loop. Nothing is tuned; that is the point."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.demo_model import plain_model


class Photos(torch.utils.data.Dataset[torch.Tensor]):
    """The photos of a folder as model input."""

    def __init__(self, folder: str) -> None:
        self.paths = sorted(Path(folder).glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(self.paths[index]).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        return (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() - 127) / 128


def main() -> None:
    """Prints the rate as JSON."""
    model = plain_model()
    photos = Photos(sys.argv[1])
    begun = time.perf_counter()
    answers = []
    with torch.no_grad():
        for batch in torch.utils.data.DataLoader(photos, batch_size=32, num_workers=len(os.sched_getaffinity(0))):
            answers += model(batch).softmax(1).topk(5).indices.tolist()
    print(json.dumps({"imagesPerSecond": round(len(answers) / (time.perf_counter() - begun), 2)}))


if __name__ == "__main__":
    main()
