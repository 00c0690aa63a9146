"""The web server of content: nginx's configuration as a function of a few options, and how it starts."""

import contextlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

HEALTH_PATH = "/.flywheel/healthz"
REVISION_HEADER = "X-Content-Revision"
SHUTDOWN_SECONDS = 20
"""How long answers under way may take after the end was asked for."""
KEPT_SECONDS = 3
"""After this time a connection is closed with the next answer. A pod that goes serves on for longer, so whoever keeps
asking it is sent away in words, and never by a reset."""
_SAFE_PATH = re.compile("/[A-Za-z0-9._/-]*")
_SAFE_REVISION = re.compile("[A-Za-z0-9:._-]{1,128}")
# Eight or more hexadecimal digits between separators, of which one is a letter: else a date would be taken for a hash.
_HASHED = r"[.-](?=[0-9]*[a-f])[0-9a-f]{8,}\.[^/]*$"
_TYPES = {
    "text/html": "html htm",
    "text/css": "css",
    "text/javascript": "js mjs",
    "text/plain": "txt md",
    "text/csv": "csv",
    "text/vtt": "vtt",
    "text/calendar": "ics",
    "text/xml": "xml",
    "application/json": "json map geojson",
    "application/manifest+json": "webmanifest",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "application/xhtml+xml": "xhtml",
    "application/yaml": "yaml yml",
    "application/wasm": "wasm",
    "application/pdf": "pdf",
    "application/zip": "zip",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpg jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/x-icon": "ico",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg oga",
    "audio/wav": "wav",
    "video/mp4": "mp4 m4v",
    "video/webm": "webm",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
}
_TEXTS = (
    "text/css text/javascript text/plain text/csv text/vtt text/calendar text/xml application/json "
    "application/manifest+json application/rss+xml application/atom+xml application/xhtml+xml application/yaml "
    "image/svg+xml"
)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What differs from one service to another."""

    root: str
    """The directory that is served."""
    port: int
    revision: str
    """Told in a header of every answer."""
    spa_fallback: bool = False
    cache_seconds: int = 60
    """How long clients keep what carries no hash in its name."""
    from_git: bool = True
    """Files were written by `content-fetch`: their times are hashes, and texts have packed copies beside them."""
    ipv6: bool = True
    temporary: str = "/tmp"  # noqa: S108 - a volume of the pod's own


def nginx_config(options: ServeOptions) -> str:
    """Write the configuration.

    Raises:
        ValueError: A path or the revision holds what has a meaning in nginx.
    """
    for path in (options.root, options.temporary):
        if not _SAFE_PATH.fullmatch(path) or ".." in path:
            raise ValueError(f"no path that can be served: {path!r}")
    if not _SAFE_REVISION.fullmatch(options.revision):
        raise ValueError(f"no revision: {options.revision!r}")
    temporary = "\n".join(
        f"    {kind}_temp_path {options.temporary}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    types = "\n".join(f"        {kind} {endings};" for kind, endings in _TYPES.items())
    return f"""# Written by flywheel content-serve; a change is lost when the pod starts again.
daemon off;
worker_processes 2;
worker_shutdown_timeout {SHUTDOWN_SECONDS}s;
pid {options.temporary}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    log_not_found off;
    server_tokens off;
{temporary}
    types {{
{types}
    }}
    default_type application/octet-stream;
    charset utf-8;
    charset_types {_TEXTS};

    sendfile on;
    tcp_nopush on;
    reset_timedout_connection on;
    client_header_timeout 10s;
    client_body_timeout 10s;
    send_timeout 30s;
    keepalive_timeout 15s;
    keepalive_time {KEPT_SECONDS}s;
    keepalive_requests 10000;
    large_client_header_buffers 4 256k;
    client_max_body_size 1;
    max_ranges 4;
    absolute_redirect off;
    open_file_cache max=10000 inactive=60s;
    open_file_cache_valid 60s;

{_validators(options)}

    map "$status $uri" $flywheel_cache {{
        default "no-cache";
        "~^(200|206|304) .*\\.x?html?$" "no-cache";
        "~^(200|206|304) .*{_HASHED}" "public, max-age=31536000, immutable";
        "~^(200|206|304) " "{_kept(options.cache_seconds)}";
    }}
    map $status $flywheel_allow {{
        405 "GET, HEAD";
    }}

    server {{
        listen {options.port} default_server;
{f"        listen [::]:{options.port} default_server;" if options.ipv6 else "        # No IPv6 here."}
        server_name _;
        root {options.root};
        autoindex off;
        disable_symlinks on from=$document_root;

        add_header Cache-Control $flywheel_cache always;
        add_header Allow $flywheel_allow always;
        add_header X-Content-Type-Options nosniff always;
        add_header {REVISION_HEADER} {options.revision} always;
        # A file's time is no time: it is a hash, or whatever the image's builder wrote.
        add_header Last-Modified "";
        # What is no file is not there: a directory without index.html, a link, a name that starts with a dot.
        error_page 403 404 =404 /404.html;

        if ($request_method !~ ^(GET|HEAD)$) {{
            return 405;
        }}
        if (-f $request_filename/index.html) {{
            rewrite ^(.*[^/])$ $1/ permanent;
        }}
        location = {HEALTH_PATH} {{
            default_type text/plain;
            add_header Cache-Control no-store always;
            return 200 "ok\\n";
        }}
        location ~ /\\.(?!well-known(/|$)) {{
            return 404;
        }}
        location / {{
            try_files $uri $uri/index.html {"@unknown" if options.spa_fallback else "=404"};
        }}
{_FALLBACK if options.spa_fallback else ""}    }}
}}
"""


# The last part of a path that has an extension is a file that is missing, and no page of the application.
_FALLBACK = r"""        location @unknown {
            if ($uri ~ "\.[^/]*$") {
                return 404;
            }
            rewrite ^ /index.html break;
        }
"""


def _validators(options: ServeOptions) -> str:
    """How clients find out whether something changed, and how texts are packed."""
    if options.from_git:
        return "    etag on;\n    if_modified_since off;\n    gzip off;\n    gzip_static on;\n    gzip_vary on;"
    # In an image a file of another content may well have the same time and size: builders set all times to one.
    return (
        "    etag off;\n    if_modified_since off;\n    gzip on;\n    gzip_vary on;\n    gzip_comp_level 5;\n"
        f"    gzip_min_length 1024;\n    gzip_proxied any;\n    gzip_types {_TEXTS} application/wasm;"
    )


def _kept(seconds: int) -> str:
    return f"public, max-age={seconds}" if seconds else "no-cache"


def has_ipv6() -> bool:
    """Tell whether this machine can listen on IPv6."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def start(options: ServeOptions, nginx: str) -> None:
    """Write the configuration and become nginx. It does not return.

    Args:
        options: What is served.
        nginx: The program.
    """
    config = Path(options.temporary) / "nginx.conf"
    config.write_text(nginx_config(options), encoding="utf-8")
    os.execv(nginx, [nginx, "-e", "stderr", "-c", str(config)])  # noqa: S606 - no shell, and nothing of a user's
