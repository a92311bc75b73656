"""The images that the others stand on: Debian, with Python, with torch for CPUs.

A plain Debian is pulled where a container registry can be reached, and put together from Debian's packages where not.
"""

import hashlib
import logging
import os
import tempfile
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Final

from tests.cluster.commands import provide, run
from tests.cluster.engine import Engine
from tests.cluster.exceptions import CommandError, UnavailableError
from tests.cluster.recipes import Recipe, ensure_image, image_name

_LOG = logging.getLogger(__name__)

SUITE: Final = "trixie"
"""Debian 13: Python 3.13, torch 2.6, containerd 1.7."""

_MIRROR: Final = "http://deb.debian.org/debian"
_CERTIFICATES: Final = Path("/usr/local/share/ca-certificates")
_REGISTRY: Final = "https://registry-1.docker.io/v2/"
_PROBE_SECONDS: Final = 5
_PULL_SECONDS: Final = 900

_SETUP: Final = r"""
# As in the official images: services do not start, of the documentation only the licences are kept, and apt leaves nothing behind.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
for path in 'doc/*' 'info/*' 'locale/*' 'man/*'; do echo "path-exclude=/usr/share/$path"; done > /etc/dpkg/dpkg.cfg.d/slim
echo 'path-include=/usr/share/doc/*/copyright' >> /etc/dpkg/dpkg.cfg.d/slim
find /usr/share/doc /usr/share/info /usr/share/locale /usr/share/man -type f ! -name copyright -delete
cat > /etc/apt/apt.conf.d/slim << 'EOF'
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke {"rm -f /var/cache/apt/archives/*.deb";};
EOF
rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/*
"""


def debian(engine: Engine) -> str:
    """The name of a plain Debian image.

    Raises:
        UnavailableError: It can neither be pulled nor made here.
    """
    image = image_name(f"debian-{SUITE}", hashlib.sha256(_SETUP.encode()).hexdigest())
    if not engine.has_image(image):
        official = f"debian:{SUITE}-slim"
        if pull(engine, official):
            engine.docker("tag", official, image)
        else:
            _debootstrap(engine, image)
    return image


def python(engine: Engine) -> str:
    """The name of an image with Python, which trusts the certificate authorities that this machine's administrator added."""
    return ensure_image(engine, _recipe(engine, "python"))


def torch(engine: Engine) -> str:
    """The name of an image with Python and torch for CPUs, on top of the one with Python."""
    return ensure_image(engine, _recipe(engine, "torch"))


def pull(engine: Engine, image: str) -> bool:
    """Whether an image of Docker's registry is here now. Takes seconds where that registry cannot be reached."""
    if engine.has_image(image):
        return True
    if not _registry_answers():
        return False
    _LOG.info("pulling %s", image)
    try:
        engine.docker("pull", "--quiet", image, timeout=_PULL_SECONDS)
    except CommandError as error:
        _LOG.info("%s", error)
        return False
    return True


def _registry_answers() -> bool:
    # The engine itself would wait for minutes for an answer that never comes.
    try:
        with urllib.request.urlopen(_REGISTRY, timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == HTTPStatus.UNAUTHORIZED  # what a registry says to somebody without a token
    except OSError:
        return False


def _debootstrap(engine: Engine, image: str) -> None:
    if os.geteuid() != 0:
        raise UnavailableError(f"the image debian:{SUITE}-slim cannot be pulled, and only root can make one from Debian's packages instead")
    provide({"debootstrap": "debootstrap"}, why="making a Debian image")
    _LOG.info("making a Debian image from its packages")
    with tempfile.TemporaryDirectory(prefix="imagejob-debian-") as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.tar")
        try:
            run(["debootstrap", "--variant=minbase", SUITE, str(root), _MIRROR])
            run(["chroot", str(root), "/bin/sh", "-euc", _SETUP])
            run(["tar", "--create", "--numeric-owner", f"--directory={root}", f"--file={archive}", "."])
            engine.docker("import", str(archive), image)
        except CommandError as error:
            raise UnavailableError(f"Debian {SUITE} could not be made from its packages: {error}") from error


def _recipe(engine: Engine, target: str) -> Recipe:
    certificates: dict[str, Path | bytes] = {f"certificates/{path.name}": path for path in _CERTIFICATES.glob("*.crt")}
    return Recipe(
        name=target,
        dockerfile=Path(__file__).parent / "bases" / "Dockerfile",
        target=target,
        arguments={"DEBIAN": debian(engine)},
        files={"certificates/README": b"Certificate authorities of the machine that built this image.\n", **certificates},
    )
