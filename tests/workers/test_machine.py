"""A container's share of the machine is what threads and memory are chosen by."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
import torch

from workers import machine
from workers.loading import set_threads

V2_MEMBERSHIP = "0::/\n"
GIB = 1 << 30


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    return written(tmp_path / "membership", V2_MEMBERSHIP)


@pytest.fixture
def eight_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four cores of two CPUs each; all may be used."""
    for cpu in range(8):
        siblings = sorted((cpu, (cpu + 4) % 8))
        written(tmp_path / f"cpus/cpu{cpu}/topology/thread_siblings_list", "{},{}\n".format(*siblings))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path / "cpus"


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("allowed", "told", "expected"),
    [
        (range(8), "max 100000", 4),
        ({0, 4}, "max 100000", 1),  # one core's two CPUs
        ({0, 1, 4}, "max 100000", 2),
        (range(8), "200000 100000", 2),
        (range(8), "250000 100000", 2),
        (range(8), "50000 100000", 1),
        (range(8), "1600000 100000", 4),
        (range(8), None, 4),
    ],
)
def test_threads_are_the_cores_of_mask_and_container(
    tmp_path: Path,
    membership: Path,
    eight_cpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    allowed: set[int],
    told: str | None,
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(allowed))
    if told is not None:
        written(tmp_path / "cgroup/cpu.max", told)
    assert machine.cores(tmp_path / "cgroup", membership, eight_cpus) == expected


def test_threads_are_bound_by_every_group_above_and_by_version_1(tmp_path: Path, eight_cpus: Path) -> None:
    membership = written(tmp_path / "membership", "4:cpu,cpuacct:/docker/ab\n3:memory:/docker/ab\n0::/pods/one\n")
    own = written(tmp_path / "cgroup/pods/one/cpu.max", "max 100000").parent
    assert machine.cores(tmp_path / "cgroup", membership, eight_cpus) == 4
    written(own.parent / "cpu.max", "300000 100000")
    assert machine.cores(tmp_path / "cgroup", membership, eight_cpus) == 3
    written(tmp_path / "cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
    quota = written(tmp_path / "cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1")
    assert machine.cores(tmp_path / "cgroup", membership, eight_cpus) == 3
    quota.write_text("200000")
    assert machine.cores(tmp_path / "cgroup", membership, eight_cpus) == 2


def test_the_threads_that_are_set_count_and_else_the_machines_cores() -> None:
    before = torch.get_num_threads()
    try:
        set_threads(3)
        assert torch.get_num_threads() == 3
        set_threads(0)
        assert torch.get_num_threads() == machine.cores()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("allowed", "expected"), [(range(8), 2), ({0, 1, 4, 5}, 1), ({0, 2}, 2)])
def test_memory_nodes_are_those_near_the_cpus_of_the_mask(
    eight_cpus: Path, monkeypatch: pytest.MonkeyPatch, allowed: set[int], expected: int
) -> None:
    for cpu in range(8):
        written(eight_cpus / f"cpu{cpu}/node{cpu // 2 % 2}/meminfo", "")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(allowed))
    assert machine.memory_nodes(eight_cpus) == expected


def test_a_machine_that_tells_no_nodes_has_one(eight_cpus: Path) -> None:
    assert machine.memory_nodes(eight_cpus) == 1


def test_free_memory_is_what_the_container_has_left(tmp_path: Path, membership: Path) -> None:
    groups = tmp_path / "cgroup"
    least = written(groups / "memory.max", f"{GIB}")
    written(groups / "memory.current", f"{GIB // 2}")
    assert machine.free_bytes(groups, membership) == GIB // 2
    written(groups / "memory.stat", f"anon 5\ninactive_file {GIB // 4}\n")  # what was read makes room
    assert machine.free_bytes(groups, membership) == 3 * GIB // 4
    written(groups / "memory.current", f"{2 * GIB}")
    assert machine.free_bytes(groups, membership) == 0
    least.write_text("max")
    assert is_the_machines(machine.free_bytes(groups, membership))


def test_free_memory_by_version_1(tmp_path: Path) -> None:
    membership = written(tmp_path / "membership", "7:memory:/docker/ab\n")
    group = tmp_path / "cgroup/memory"
    most = written(group / "memory.limit_in_bytes", f"{GIB}")
    written(group / "memory.usage_in_bytes", f"{GIB // 2}")
    written(group / "memory.stat", f"inactive_file 7\ntotal_inactive_file {GIB // 4}\n")
    assert machine.free_bytes(tmp_path / "cgroup", membership) == 3 * GIB // 4
    most.write_text("9223372036854771712")
    assert is_the_machines(machine.free_bytes(tmp_path / "cgroup", membership))


def test_without_control_groups_the_machine_is_all_there_is(tmp_path: Path, eight_cpus: Path) -> None:
    assert machine.cores(tmp_path / "none", tmp_path / "none", eight_cpus) == 4
    assert is_the_machines(machine.free_bytes(tmp_path / "none", tmp_path / "none"))


def is_the_machines(free: int) -> bool:
    return free > GIB * 3 // 4 and abs(free - psutil.virtual_memory().available) < psutil.virtual_memory().total // 4
