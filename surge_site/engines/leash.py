"""Run a program that cannot outlive its parent: `python -I -S leash.py SIGNAL UID GID PARENT PROGRAM ARGUMENT...`

Linux sends SIGNAL to the program when its parent dies, even by kill -9. UID -1 keeps the user. Standard library only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    death_signal, uid, gid, parent = (int(word) for word in sys.argv[1:5])
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if uid >= 0:  # first, because a change of user forgets the death signal
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl refused the death signal")
    if os.getppid() != parent:  # the parent died before the line above
        sys.exit(1)
    os.execvp(sys.argv[5], sys.argv[5:])


if __name__ == "__main__":
    main()
