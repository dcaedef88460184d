"""Published type declarations, as the source of what a resource may hold.

The registries of Terraform and KEDA's own releases are not everywhere within reach; npm is. There
the schema of every provider version stands as TypeScript (``@cdktf/provider-…``, made by HashiCorp
from the provider itself), and so do KEDA's custom resources (``@kubernetes-models/keda``, made from
KEDA's Go sources).
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
DOWNLOAD_LIMIT_S = 60.0
MAX_BYTES = 100 << 20
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Package:
    """One version of one package.

    Attributes:
        name: on npm.
        version: of the package.
        sha512: of its archive, hexadecimal.
    """

    name: str
    version: str
    sha512: str

    @property
    def url(self) -> str:
        """Where the archive is."""
        return f"{REGISTRY}/{self.name}/-/{self.name.split('/')[-1]}-{self.version}.tgz"


def declarations(package: Package, cache: Path, wanted: Callable[[str], bool]) -> dict[str, str]:
    """Declarations of a package, downloaded once.

    Args:
        package: which one.
        cache: folder of the archives.
        wanted: whether a member, e.g. ``lib/key-vault/index.d.ts``, is asked for.

    Returns:
        The text of each.

    Raises:
        OSError: it cannot be had, or is not what it was when its digest was noted.
    """
    archive = cache / f"{package.name.replace('/', '+')}-{package.version}.tgz"
    if not archive.exists():
        _download(package, archive)
    found: dict[str, str] = {}
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            name = member.name.removeprefix("package/")
            if member.isfile() and wanted(name) and (file := members.extractfile(member)):
                found[name] = file.read().decode()
    return found


def _download(package: Package, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha512()
    partial = archive.with_suffix(f".{os.getpid()}.partial")
    with (
        urllib.request.urlopen(package.url, timeout=DOWNLOAD_LIMIT_S) as answer,  # noqa: S310
        partial.open("wb") as file,
    ):
        while block := answer.read(_BLOCK_BYTES):
            digest.update(block)
            file.write(block)
            if file.tell() > MAX_BYTES:
                raise OSError(f"{package.url}: larger than {MAX_BYTES} bytes")
    if digest.hexdigest() != package.sha512:
        partial.unlink()
        raise OSError(f"{package.url}: its SHA-512 is {digest.hexdigest()}, not {package.sha512}")
    partial.rename(archive)
