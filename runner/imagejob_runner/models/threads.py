"""Keeping torch to its number of CPU threads."""

import torch


def use_threads(count: int) -> None:
    """Makes torch use `count` threads for work started from the calling thread.

    OpenMP keeps the number for each thread of the program, so it has to be set on the very thread that calls the model.
    """
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
