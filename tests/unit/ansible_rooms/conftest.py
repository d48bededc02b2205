"""Load the roles' modules as Ansible would find them."""

from __future__ import annotations

from types import ModuleType

import pytest

from kferry.ansible.content import find_content
from support.role_modules import load


@pytest.fixture(scope="session")
def connector_module(rest_module: ModuleType) -> ModuleType:  # what it imports must be there first
    return load(find_content().roles / "mirrormaker" / "library" / "kferry_connector.py", "kferry_connector")


@pytest.fixture(scope="session")
def files_module() -> ModuleType:
    path = find_content().roles / "kafka_connect" / "module_utils" / "kferry_files.py"
    return load(path, "ansible.module_utils.kferry_files")


@pytest.fixture(scope="session")
def rest_module(files_module: ModuleType) -> ModuleType:
    path = find_content().roles / "kafka_connect" / "module_utils" / "kferry_rest.py"
    return load(path, "ansible.module_utils.kferry_rest")


@pytest.fixture(scope="session")
def archive_module() -> ModuleType:
    path = find_content().roles / "kafka_connect" / "module_utils" / "kferry_archive.py"
    return load(path, "ansible.module_utils.kferry_archive")


@pytest.fixture(scope="session")
def distribution_module(archive_module: ModuleType) -> ModuleType:
    path = find_content().roles / "kafka_connect" / "library" / "kferry_distribution.py"
    return load(path, "kferry_distribution")
