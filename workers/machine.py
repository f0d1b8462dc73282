"""Machine: the cores and the memory that this process may use, which in a container are fewer than those that are there.

Knows Linux's control groups (both versions), affinity, cores that share their units and memory that is nearer to some of
them; elsewhere it is what psutil says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

_CGROUPS, _MEMBERSHIP, _CPUS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), Path("/sys/devices/system/cpu")
_V1_UNLIMITED = 1 << 60
"""Version 1 writes a number near 2⁶³ where there is no limit."""


def cores(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP, cpus: Path = _CPUS) -> int:
    """Physical cores, at least 1: those in the affinity mask, and not more than the container's share of time."""
    quotas = [quota for group in _groups(cgroups, membership, "cpu") if (quota := _quota(group)) is not None]
    return max(1, int(min([_physical(cpus), *quotas])))


def memory_nodes(cpus: Path = _CPUS) -> int:
    """How many parts of the memory are near a CPU of the affinity mask: sockets, mostly. At least 1."""
    if not hasattr(os, "sched_getaffinity"):
        return 1
    near = {node.name for cpu in os.sched_getaffinity(0) for node in (cpus / f"cpu{cpu}").glob("node[0-9]*")}
    return max(1, len(near))


def free_bytes(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Memory that can be taken now: the machine's, and not more than the container may take besides what it has."""
    groups = _groups(cgroups, membership, "memory")
    limits = [left for group in groups if (left := _left(group)) is not None]
    return max(0, min([psutil.virtual_memory().available, *limits]))


def _physical(cpus: Path) -> int:
    """Cores with a CPU in the affinity mask; two CPUs of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return psutil.cpu_count(logical=False) or 1
    allowed = os.sched_getaffinity(0)
    siblings = {_text(cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list") or str(cpu) for cpu in allowed}
    return len(siblings)


def _groups(cgroups: Path, membership: Path, wanted: str) -> Iterator[Path]:
    """The folders of this process's groups, from its own up to the root: each one's limit binds it.

    A container often sees its own group as the root, and a path that is not there; version 1 has a tree a controller.
    """
    for line in (_text(membership) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and wanted not in controllers.split(","):
            continue
        top = cgroups / controllers
        own = top / path.lstrip("/")
        yield from (group for group in (own, *own.parents) if group.is_relative_to(top))


def _quota(group: Path) -> float | None:
    """The CPUs' worth of time of a group."""
    told = (_text(group / "cpu.max") or "").split()
    if not told:
        told = [_text(group / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    try:
        quota, period = (int(number) for number in told)
    except ValueError:  # "max", or there is no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _left(group: Path) -> int | None:
    """The bytes that a group may take besides what it has; files that were read do not count, they make room."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, taken = _number(group / limit), _number(group / used)
        if most is not None and taken is not None and most < _V1_UNLIMITED:
            return most - taken + _stat(group, cached)
    return None


def _stat(group: Path, name: str) -> int:
    lines = (line.split() for line in (_text(group / "memory.stat") or "").splitlines())
    return next((int(line[1]) for line in lines if line[0] == name), 0)


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdecimal() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
