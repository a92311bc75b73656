"""The image of a kind node: `kindest/node` where it can be pulled, else one of Debian's containerd and Kubernetes built from source."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import base_images
from tests.cluster.commands import run
from tests.cluster.components.build import KUBERNETES_VERSION, PROGRAM, install_components
from tests.cluster.engine import Engine
from tests.cluster.recipes import Recipe, ensure_image
from tests.cluster.tools import COREDNS

_KINDEST_NODE: Final = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
"""What the pinned version of kind takes by itself."""

_FOLDER: Final = Path(__file__).parent / "node"


@dataclass(frozen=True)
class NodeImage:
    """An image that kind can make nodes of."""

    name: str
    kubelet: Path | None
    """A KubeletConfiguration that its nodes need."""
    made: bool
    """Whether it had to be pulled or built just now."""


def ensure_node_image(engine: Engine) -> NodeImage:
    """The node image, pulled or made if the engine does not have it.

    Raises:
        UnavailableError: It can neither be pulled nor made here.
        CommandError: It cannot be built.
    """
    there = engine.has_image(_KINDEST_NODE)
    if base_images.pull(engine, _KINDEST_NODE):
        return NodeImage(_KINDEST_NODE, kubelet=None, made=not there)
    return _make(engine)


def _make(engine: Engine) -> NodeImage:
    components = install_components()
    shared: dict[str, Path | bytes] = {"components": components / PROGRAM, "coredns": COREDNS.install(), "podnet": _FOLDER / "podnet"}
    base = base_images.debian(engine)
    every = Recipe("components", _FOLDER / "Dockerfile", "components", {"DEBIAN": base}, shared)
    special = {target: dataclasses.replace(every, name=target, target=target) for target in ("coredns", "pause")}
    # kubeadm's own list says what its manifests will name, as in registry.k8s.io/coredns/coredns:v1.14.2.
    wanted = run([str(components / "kubeadm"), "config", "images", "list", f"--kubernetes-version={KUBERNETES_VERSION}"]).split()
    recipes = {image: special.get(_role(image), every) for image in wanted}
    named = {_role(image): image for image in wanted}
    node = Recipe(
        "node",
        every.dockerfile,
        "node",
        every.arguments,
        {
            **shared,
            **{name: _FOLDER / name for name in ("Corefile", "entrypoint", "resolv.conf")},
            "version": KUBERNETES_VERSION.encode(),
            "images": "".join(f"{recipe.image} {image}\n" for image, recipe in recipes.items()).encode(),
            "podnet.yaml": _filled("podnet.yaml", KUBE_PROXY_IMAGE=named["kube-proxy"]),
            "containerd.toml": _filled("containerd.toml", PAUSE_IMAGE=named["pause"]),
        },
    )

    def archive(context: Path) -> None:
        images = [ensure_image(engine, recipe) for recipe in (every, *special.values())]
        engine.docker("save", f"--output={context / 'images.tar'}", *images)

    there = engine.has_image(node.image)
    return NodeImage(ensure_image(engine, node, prepare=archive), kubelet=_FOLDER / "kubelet.yaml", made=not there)


def _role(image: str) -> str:
    return image.rpartition("/")[2].partition(":")[0]


def _filled(name: str, **values: str) -> bytes:
    text = (_FOLDER / name).read_text()
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text.encode()
