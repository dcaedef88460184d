"""Terraform files against the providers' schemas, for where no registry can be reached.

Less than ``terraform validate``: names of resources, blocks and arguments, needed ones, references
inside a module and arguments of modules; not types, functions, or what values a provider takes.

    python terraform_arguments.py CACHE FOLDER…
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
from packages import Package, declarations
from shapes import Shape, shapes

# By the first word of a resource's type.
PROVIDERS = {
    "azurerm": Package(
        "@cdktf/provider-azurerm",
        "14.23.1",  # azurerm 4.55.0
        "dc7db43b38fb74e2a6223ea6aa8ac76448cb368e703bf3011151f0bba939ddf967ff411c88641af6c0cb5816126f4a38d187298a1f65169fe4e921916c595056",
    ),
    "snowflake": Package(
        "@cdktf/provider-snowflake",
        "15.9.1",  # snowflake 2.11.0
        "539abf7e2884f694ff754ddf8eec938a045a29bd5b8149d956873be4fba03a981640739a0c1e70c3485f408b716111b2b98a23dfef29b90f410a421864385ee7",
    ),
}
# Newer than the schemas that are published: pull request 29777 of terraform-provider-azurerm.
NEWER = {("ContainerAppTemplateCustomScaleRule", "identity_id")}
META = {"count", "for_each", "depends_on", "provider", "lifecycle", "dynamic"}
# How the parser marks a block, which is a dictionary like a map.
BLOCK = "__is_block__"

Problems = Iterator[str]


def main(cache: Path, folders: list[Path]) -> int:
    """Check each folder as a module; print what is wrong.

    Returns:
        The exit code.
    """
    modules = {folder.resolve(): Module(folder) for folder in folders}
    types = {kind for module in modules.values() for kind, _ in module.resources}
    known = _known(cache, types)
    problems = [
        problem
        for module in modules.values()
        for problem in (*module.arguments(known), *module.references(), *module.calls(modules))
    ]
    print("\n".join(problems), end="\n" if problems else "")
    resources = sum(len(module.resources) for module in modules.values())
    print(f"{len(modules)} modules, {resources} resources: {len(problems)} problems")
    return 1 if problems else 0


def _known(cache: Path, types: set[str]) -> dict[str, dict[str, Shape]]:
    """The interfaces of each resource type."""
    found: dict[str, dict[str, Shape]] = {}
    for provider, package in PROVIDERS.items():
        files = {
            f"lib/{kind.removeprefix(provider + '_').replace('_', '-')}/index.d.ts": kind
            for kind in types
            if kind.startswith(provider + "_")
        }
        if files:
            texts = declarations(package, cache, files.__contains__)
            found |= {files[name]: shapes(text) for name, text in texts.items()}
    return found


class Module:
    """A folder of Terraform files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path: _read(path) for path in sorted(folder.glob("*.tf"))}
        self.resources: dict[tuple[str, str], tuple[Path, dict[str, Any]]] = {
            (kind, name): (path, body)
            for path, parsed in self.files.items()
            for block in parsed.get("resource", [])
            for kind, named in block.items()
            for name, body in named.items()
        }

    def _named(self, kind: str) -> dict[str, dict[str, Any]]:
        blocks = (block for parsed in self.files.values() for block in parsed.get(kind, []))
        return {name: body for block in blocks for name, body in block.items()}

    @property
    def variables(self) -> dict[str, bool]:
        """Each variable, and whether it has to be given."""
        return {name: "default" not in body for name, body in self._named("variable").items()}

    def arguments(self, known: dict[str, dict[str, Shape]]) -> Problems:
        """Names of resources, blocks and arguments."""
        for (kind, name), (path, body) in self.resources.items():
            where = f"{path}: {kind}.{name}"
            if kind not in known:
                yield f"{where}: no such resource"
                continue
            root = next(one for one in known[kind] if one.endswith("Config"))
            yield from _walk(where, body, root, known[kind], META)

    def references(self) -> Problems:
        """What is referred to is there."""
        locals_ = set(self._named("locals"))
        for path, parsed in self.files.items():
            text = json.dumps(parsed)
            for name in sorted(set(re.findall(r"\bvar\.(\w+)", text)) - set(self.variables)):
                yield f"{path}: there is no variable {name}"
            for name in sorted(set(re.findall(r"\blocal\.(\w+)", text)) - locals_):
                yield f"{path}: there is no local {name}"
            found = set(re.findall(r"\b((?:azurerm|snowflake)_\w+)\.(\w+)\b", text))
            for kind, name in sorted(found - set(self.resources)):
                yield f"{path}: there is no resource {kind}.{name}"
        used = set(re.findall(r"\bvar\.(\w+)", json.dumps([*self.files.values()])))
        for name in sorted(set(self.variables) - used):
            yield f"{self.folder}: variable {name} is used nowhere"

    def calls(self, modules: dict[Path, Module]) -> Problems:
        """Modules of ours that are called: their variables, and their outputs."""
        text = json.dumps([*self.files.values()])
        for name, body in self._named("module").items():
            called = modules.get((self.folder / body["source"]).resolve())
            where = f"{self.folder}: module {name}"
            if called is None:
                yield f"{where}: {body['source']} is not among the folders checked"
                continue
            given = set(body) - META - {BLOCK, "source", "version", "providers"}
            needed = {one for one, is_needed in called.variables.items() if is_needed}
            yield from (
                f"{where}: there is no {one}" for one in sorted(given - set(called.variables))
            )
            yield from (f"{where}: {one} is missing" for one in sorted(needed - given))
            outputs = set(re.findall(rf"\bmodule\.{name}\.(\w+)", text))
            for one in sorted(outputs - set(called._named("output"))):
                yield f"{where}: there is no output {one}"


def _walk(
    where: str, body: dict[str, Any], shape: str, known: dict[str, Shape], extra: set[str]
) -> Problems:
    blocks, plain = _split(body)
    given = (set(blocks) | plain) - extra
    newer = {name for name in given if (shape, name) in NEWER}
    yield from (f"{where}: {fault}" for fault in known[shape].faults(given - newer))
    for name, bodies in blocks.items():
        field = known[shape].fields.get(name)
        names = field.names_in_type() if field else []
        inner = next((one for one in names if one in known), "")
        if field and not inner:
            yield f"{where}: {name} is an argument, not a block"
        for one in bodies if inner else []:
            yield from _walk(f"{where}.{name}", one, inner, known, set())
    for name in sorted(plain & set(known[shape].fields)):
        if any(one in known for one in known[shape].fields[name].names_in_type()):
            yield f"{where}: {name} is a block, not an argument"


def _split(body: dict[str, Any]) -> tuple[dict[str, list[dict[str, Any]]], set[str]]:
    """The blocks of a body, those that are made by ``dynamic`` too, and its other arguments."""
    blocks: dict[str, list[dict[str, Any]]] = {}
    plain: set[str] = set()
    for name, value in body.items():
        if name == BLOCK:
            continue
        if name == "dynamic":
            for made in value:
                for kind, inner in made.items():
                    blocks.setdefault(kind, []).extend(inner["content"])
        elif isinstance(value, list) and value and all(_is_block(one) for one in value):
            blocks.setdefault(name, []).extend(value)
        else:
            plain.add(name)
    return blocks, plain


def _is_block(value: object) -> bool:
    return isinstance(value, dict) and BLOCK in value


def _read(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8") as file:
        parsed: dict[str, Any] = _plain(hcl2.load(file))
    return parsed


def _plain(value: Any) -> Any:
    """Without the parser's marks, but for the one that tells a block from a map."""
    if isinstance(value, dict):
        return {
            _plain(key): _plain(inner)
            for key, inner in value.items()
            if key == BLOCK or not str(key).startswith("__")
        }
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
