"""What the roles promise: specs equal defaults, properties survive the way to Java, archives are never half-used."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kferry.ansible.content import find_content
from kferry.domain.model import ClusterKind

ROLES = sorted(path for path in find_content().roles.iterdir() if (path / "meta").is_dir())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_has_a_spec_that_equals_its_defaults(role: Path) -> None:
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
    assert {name: option["default"] for name, option in spec.items() if "default" in option} == defaults
    assert all(option.get("required") or "default" in option for option in spec.values())
    assert all(name.startswith(f"{role.name}_") for name in spec)
    assert (role / "README.md").is_file()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=5))
@pytest.mark.thorough
def test_properties_come_back_as_they_went(values: dict[str, str]) -> None:
    path = find_content().roles / "kafka_connect" / "module_utils" / "kferry_files.py"
    namespace: dict[str, object] = {"__name__": "files"}
    exec(compile(path.read_text(), path, "exec"), namespace)  # noqa: S102  (hypothesis takes no fixtures of function scope)
    text = namespace["properties_text"](values)  # type: ignore[operator]
    assert text.isascii() and len(text.splitlines()) == len(values)
    assert namespace["parse_properties"](text) == values  # type: ignore[operator]


def test_properties_are_written_as_java_reads_them(files_module: ModuleType) -> None:
    values = {"a b=c": " x\ny\\z", "e": "ä😀", "t": True, "none": None, "ref": "${file:/x:y}"}
    assert files_module.properties_text(values) == (
        "a\\ b\\=c=\\ x\\ny\\\\z\ne=\\u00e4\\ud83d\\ude00\nref=${file:/x:y}\nt=true\n"
    )


def test_an_archive_with_a_foreign_entry_installs_nothing(
    archive_module: ModuleType, distribution_module: ModuleType, tmp_path: Path
) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as content:
        for name in ("libs/good.jar", "../evil.jar"):
            entry = tarfile.TarInfo(name)
            entry.size = 1
            content.addfile(entry, io.BytesIO(b"x"))
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    target = tmp_path / "versions" / "kafka-1"
    with pytest.raises(ValueError, match="evil"):
        archive_module.install(archive, sha256, target, distribution_module.fill)
    assert [path.name for path in target.parent.iterdir()] == [".lock"]
    assert not archive_module.is_installed(target, sha256)


def test_example_inventories_name_known_kinds_and_workers() -> None:

    examples = sorted((find_content().root / "inventory").glob("*/hosts.yml"))
    assert len(examples) >= 8
    for hosts in examples:
        assert yaml.safe_load(hosts.read_text())["kferry_workers"]["hosts"]
        text = (hosts.parent / "group_vars" / "all" / "clusters.yml").read_text()
        assert "{{" not in text
        clusters = yaml.safe_load(text)["kferry_clusters"]
        for role in ("source", "target"):
            assert clusters[role]["kind"] in set(ClusterKind), hosts
            assert clusters[role].get("sasl_password", "env:").split(":")[0] in ("env", "file", "command")
