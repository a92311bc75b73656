"""What a worker is told when it starts."""

from dataclasses import dataclass

from imagejob_runner.preparation.recipe import PreparationRecipe


@dataclass(frozen=True)
class Orders:
    """What a worker is told when it starts.

    Attributes:
        index: Its entry on the board.
        workers: How many entries there are.
        arena: Bytes of all slots; 0 if there are none.
        slot: Bytes of one, for a model's input or for a file that a device decodes.
        batch: Images in a batch of the model.
        recipe: What is done to each image.
        downloads: Images fetched at once over networks.
        max_bytes: Encoded bytes that it may hold.
        allowance: Bytes that a decoding may take without being permitted.
    """

    index: int
    workers: int
    arena: int
    slot: int
    batch: int
    recipe: PreparationRecipe
    downloads: int
    max_bytes: int
    allowance: int
