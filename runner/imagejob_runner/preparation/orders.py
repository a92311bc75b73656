"""What a worker is told when it starts."""

from dataclasses import dataclass

from imagejob_runner.preparation.recipe import PreparationRecipe


@dataclass(frozen=True)
class Orders:
    """What a worker is told when it starts.

    Attributes:
        index: Its entry on the board.
        workers: How many entries there are.
        arena: Bytes of the slots for the model's inputs; 0 if none are made.
        recipe: What is done to each image.
        downloads: Images fetched at once over networks.
        max_bytes: Encoded bytes that it may hold.
        allowance: Bytes that a decoding may take without being permitted.
    """

    index: int
    workers: int
    arena: int
    recipe: PreparationRecipe
    downloads: int
    max_bytes: int
    allowance: int
