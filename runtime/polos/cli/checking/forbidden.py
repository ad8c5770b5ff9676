"""The calls that do not belong into a workflow's body, by their full names."""

from __future__ import annotations

import ast
from typing import Final

_CLOCK: Final = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *("time.process_time", "time.process_time_ns", "time.thread_time", "time.thread_time_ns"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
    *("django.utils.timezone.now", "pendulum.now", "arrow.now", "arrow.utcnow"),
}
_CLOCK_WITHOUT_ARGUMENT: Final = {"time.localtime": 0, "time.gmtime": 0, "time.ctime": 0, "time.strftime": 1}
_RANDOM: Final = {"uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7", "os.urandom", "os.getrandom", "uuid.getnode"}
_RANDOM_MODULES: Final = ("random", "secrets", "numpy.random")
_NOT_RANDOM: Final = {"secrets.compare_digest"}
_SEEDED: Final = {"random.Random", "numpy.random.default_rng", "numpy.random.RandomState", "numpy.random.Generator"}

_FUNCTIONS: Final = {
    *("open", "input", "io.open", "time.sleep", "os.system", "os.popen", "os.remove", "os.unlink", "os.rename"),
    *("os.replace", "os.mkdir", "os.makedirs", "os.rmdir", "os.listdir", "os.scandir", "os.walk", "os.stat"),
    *("os.path.exists", "os.path.isfile", "os.path.isdir", "os.path.getsize", "os.path.getmtime"),
    *(f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen", "getoutput")),
    *("subprocess.getstatusoutput", "urllib.request.urlopen", "urllib.request.urlretrieve", "urllib3.request"),
    *("shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree", "shutil.move", "shutil.rmtree"),
    *("glob.glob", "glob.iglob", "smtplib.SMTP", "smtplib.SMTP_SSL", "ftplib.FTP", "sqlite3.connect"),
    *("socket.create_connection", "socket.gethostbyname", "socket.getaddrinfo", "socket.socket"),
    *("asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell", "asyncio.open_connection"),
    *("psycopg.connect", "psycopg2.connect", "pymysql.connect", "asyncpg.connect", "asyncpg.create_pool"),
}
_TEMPFILE: Final = "tempfile."
_HTTP: Final = ("get", "post", "put", "patch", "delete", "head", "options", "request", "stream")
_HTTP_MODULES: Final = ("requests", "httpx", "aiohttp")
_SDK_MODULES: Final = ("boto3", "aioboto3")
_CLIENTS: Final = {
    *("requests.Session", "requests.session", "httpx.Client", "httpx.AsyncClient", "aiohttp.ClientSession"),
    *("boto3.client", "boto3.resource", "boto3.Session", "boto3.session.Session", "aioboto3.Session"),
    *("urllib3.PoolManager", "http.client.HTTPConnection", "http.client.HTTPSConnection", "sqlite3.connect"),
    *("redis.Redis", "redis.StrictRedis", "redis.from_url", "redis.asyncio.Redis", "pymongo.MongoClient"),
    *("psycopg.connect", "psycopg2.connect", "pymysql.connect", "openai.OpenAI", "openai.AsyncOpenAI"),
    *("anthropic.Anthropic", "anthropic.AsyncAnthropic", "smtplib.SMTP", "smtplib.SMTP_SSL", "open"),
}
_CLIENTS_OWN: Final = {"close", "aclose", "mount", "exceptions", "meta"}
_PATH: Final = {"pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.Path.cwd", "pathlib.Path.home"}
_PATH_IO: Final = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "exists", "is_file", "is_dir", "iterdir", "glob"),
    *("rglob", "mkdir", "rmdir", "unlink", "rename", "replace", "stat", "touch"),
}
_UNKEYED: Final = {
    *(
        "asyncio.to_thread",
        "anyio.to_thread.run_sync",
        "threading.Thread",
        "threading.Timer",
        "multiprocessing.Process",
    ),
    *("concurrent.futures.ThreadPoolExecutor", "concurrent.futures.ProcessPoolExecutor", "multiprocessing.Pool"),
}
_LOOPS: Final = {"asyncio.get_running_loop", "asyncio.get_event_loop"}
_PROCESS: Final = {
    *("os.getpid", "os.getppid", "os.getenv", "os.environ.get", "os.environ.items", "os.environ.copy", "os.getcwd"),
    *("threading.get_ident", "threading.get_native_id", "socket.gethostname", "platform.node"),
}
ENVIRONMENT: Final = "os.environ"

USE_CLOCK: Final = "reads the clock, which differs at every replay: use await ctx.step.now(key)"
USE_RANDOM: Final = "is random, and differs at every replay: use await ctx.step.random(key) or ctx.step.uuid(key)"
USE_HASH: Final = "of a string differs in every process: use hashlib, zlib.crc32(text.encode()) or the text itself"
USE_STEP: Final = "does I/O in the workflow's body, again at every replay: move it into a step, ctx.step.run(key, func)"
USE_WAIT: Final = "blocks the workflow, again at every replay: use await ctx.step.wait_for(key, seconds=...)"
USE_PROCESS: Final = (
    "is of this process, and another one may replay the body: read it in a step, ctx.step.run(key, func)"
)
USE_KEY: Final = "runs unrecorded work, again at every replay: use ctx.step.run(key, func), which runs it in a thread"


def is_client(name: str | None) -> bool:
    """Whether a call of this name makes a thing whose methods do I/O."""
    return name in _CLIENTS or name in _PATH or name in _LOOPS


def judge(name: str, call: ast.Call) -> tuple[str, str] | None:
    """The rule that a call breaks and what to do, if it does. `name` is the full name of what is called."""
    arguments = len(call.args) + len(call.keywords)
    if name in _CLOCK or arguments <= _CLOCK_WITHOUT_ARGUMENT.get(name, -1):
        return "clock", USE_CLOCK
    if name == "time.sleep":
        return "io", USE_WAIT
    if name in _PROCESS:
        return "process", USE_PROCESS
    if name in _UNKEYED:
        return "io", USE_KEY
    if _is_random(name, arguments):
        return "random", USE_RANDOM
    return ("io", USE_STEP) if _is_io(name) else None


def judge_method(maker: str, method: str) -> tuple[str, str] | None:
    """The same for a method of what the call `maker` made."""
    if maker in _LOOPS:
        return ("clock", USE_CLOCK) if method == "time" else None
    found = method in _PATH_IO if maker in _PATH else method not in _CLIENTS_OWN
    return ("io", USE_STEP) if found else None


def _is_random(name: str, arguments: int) -> bool:
    if name in _SEEDED:
        return arguments == 0
    module, _, last = name.rpartition(".")
    drawn = module in _RANDOM_MODULES and (last[:1].islower() or last == "SystemRandom")
    return name in _RANDOM or (drawn and name not in _NOT_RANDOM)


def _is_io(name: str) -> bool:
    module, _, last = name.rpartition(".")
    if name in _FUNCTIONS or name.startswith(_TEMPFILE):
        return True
    if module in _HTTP_MODULES or module == "requests.api":
        return last in _HTTP
    return module in _SDK_MODULES and last in ("client", "resource")
