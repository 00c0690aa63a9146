"""What runs in a pod that serves content."""

import sys
from pathlib import Path

import click

from flywheel.commands.options import Duration

_directory = click.Path(file_okay=False, path_type=Path)


@click.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option("--url", required=True, help="The repository.")
@click.option("--commit", required=True, help="What to fetch: all 40 digits.")
@click.option("--ref", default="HEAD", show_default=True, help="Where to look where commits are not given by name.")
@click.option("--path", default="/", show_default=True, help="Directory of the repository that is published.")
@click.option("--into", type=_directory, required=True, help="The files go into the directory site below this one.")
@click.option("--max-bytes", type=click.IntRange(1), default=256 << 20, show_default=True, help="Of all files.")
@click.option("--max-files", type=click.IntRange(1), default=20_000, show_default=True, help="Number of files.")
@click.option("--timeout", type=Duration(), default="300s", show_default=True, help="For the download.")
@click.option("--credentials", type=_directory, help="Directory with username and password, or token; and ca.crt.")
@click.option(
    "--termination-log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to say, as JSON, why it cannot be done.",
)
@click.option("--allow-loopback", is_flag=True, help="Also call this machine itself; for trying things out.")
def content_fetch(
    url: str,
    *,
    commit: str,
    ref: str,
    path: str,
    into: Path,
    max_bytes: int,
    max_files: int,
    timeout: float,
    credentials: Path | None,
    termination_log: Path | None,
    allow_loopback: bool,
) -> None:
    """Fetch one commit of a Git repository and write its files so that they can be served.

    Each option can be given as an environment variable: FLYWHEEL_URL=..., FLYWHEEL_MAX_FILES=...
    """
    from flywheel.release.content.fetch import Order, fetch, tell_problem
    from flywheel.release.content.resolve import is_commit
    from flywheel.release.content.source import ANONYMOUS, ContentProblem, read_credentials_from

    if not is_commit(commit):
        raise click.BadParameter("A commit has 40 hexadecimal digits.", param_hint="--commit")
    order = Order(
        url=url,
        commit=commit,
        ref=ref,
        path=path,
        max_bytes=max_bytes,
        max_files=max_files,
        seconds=timeout,
        allow_loopback=allow_loopback,
    )
    try:
        count = fetch(order, into, read_credentials_from(credentials) if credentials else ANONYMOUS)
    except ContentProblem as problem:
        click.echo(problem.message, err=True)
        tell_problem(problem, termination_log)
        sys.exit(1)
    click.echo(f"{count} files of {commit} are there.")


@click.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option("--root", type=_directory, required=True, help="The directory that is served.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Where to listen.")
@click.option("--revision", required=True, help="What is served, told in a header of every answer.")
@click.option("--spa-fallback", is_flag=True, help="Answer unknown paths without an extension with /index.html.")
@click.option("--cache", type=Duration(), default="60s", show_default=True, help="How long clients keep other files.")
@click.option("--from-image", is_flag=True, help="The files come from an image and not from content-fetch.")
@click.option("--temporary", type=_directory, default="/tmp", show_default=True, help="What can be written.")  # noqa: S108
@click.option("--nginx", default="/usr/sbin/nginx", show_default=True, help="The program.")
def content_serve(
    root: Path,
    *,
    port: int,
    revision: str,
    spa_fallback: bool,
    cache: float,
    from_image: bool,
    temporary: Path,
    nginx: str,
) -> None:
    """Serve a directory with nginx, which takes the place of this process.

    Each option can be given as an environment variable: FLYWHEEL_PORT=8080, FLYWHEEL_CACHE=5m
    """
    from flywheel.release.content.serve import ServeOptions, has_ipv6, start

    options = ServeOptions(
        root=str(root),
        port=port,
        revision=revision,
        spa_fallback=spa_fallback,
        cache_seconds=int(cache),
        from_git=not from_image,
        ipv6=has_ipv6(),
        temporary=str(temporary),
    )
    try:
        start(options, nginx)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The web server cannot start: {error}") from error
