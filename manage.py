#!/usr/bin/env python3
"""Django's door: starts the engines a command needs, then runs it. `./surge` comes through here."""

import sys

from surge_site.commandline import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
