"""Owns a library that lets fsync fail in processes that load it, for as long as a file exists.  Not part of the product.

Nothing else can make a real fsync fail without a kernel made for it.  It is built with the system's C compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int sick(const char *variable)
{
    const char *flag = getenv(variable);
    int saved = errno, found = flag && access(flag, F_OK) == 0;
    errno = saved;
    return found;
}

#define FAILING(name)                                                \
    int name(int handle)                                             \
    {                                                                \
        int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, #name);    \
        if (sick("TEST_SICK_" #name)) {                              \
            errno = EIO;                                             \
            return -1;                                               \
        }                                                            \
        return real(handle);                                         \
    }

FAILING(fsync)
FAILING(fdatasync)
"""


class SickDisk:
    """The library, and the file that makes the disk sick."""

    def __init__(self, folder: Path) -> None:
        """Build the library in `folder`.  Skips the test when there is no compiler; with CI=true that is a failure."""
        compiler = shutil.which("cc")
        if compiler is None:
            text = "no C compiler (cc): a failing fsync cannot be made"
            pytest.fail(text, pytrace=False) if os.environ.get("CI") == "true" else pytest.skip(text)
        source = folder / "sickdisk.c"
        source.write_text(_SOURCE)
        self.library = folder / "sickdisk.so"
        self._flags = {name: folder / f"sick-{name}" for name in ("fsync", "fdatasync")}
        assert compiler is not None
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self.library), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to have this disk."""
        flags = {f"TEST_SICK_{name}": str(flag) for name, flag in self._flags.items()}
        return {"LD_PRELOAD": str(self.library), **flags}

    def fall_sick(self, database_only: bool = False) -> None:
        """From now on every fsync and fdatasync fails with EIO; or only the latter, with which SQLite syncs and we do not."""
        for name, flag in self._flags.items():
            if name == "fdatasync" or not database_only:
                flag.touch()

    def recover(self) -> None:
        """They work again."""
        for flag in self._flags.values():
            flag.unlink(missing_ok=True)
