"""`./surge compile_kernels`: the launcher does it for new kernels, so that no first tick waits for a compiler."""

import time
from typing import Any

from django.core.management.base import BaseCommand

from surge_site.kernels import kernels_compile


class Command(BaseCommand):
    help = "Compile the number-crunching code (numba) into its cache."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        kernels_compile()
        self.stderr.write(f"Compiled in {time.monotonic() - began:.0f} s")
