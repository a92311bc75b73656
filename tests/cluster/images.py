"""Every image that a cluster for tests of this checkout needs, so that they can be made before the cluster is."""

from tests.cluster import base_images, project_images
from tests.cluster.engine import Engine
from tests.cluster.node_image import ensure_node_image


def ensure_images(engine: Engine) -> list[str]:
    """Their full names; made if the engine does not have them.

    Raises:
        UnavailableError: One can neither be pulled nor made here.
        CommandError: One cannot be built.
    """
    names = [ensure_node_image(engine).name, base_images.python(engine)]
    return names + [project_images.ensure(engine, name) for name in project_images.NAMES]
